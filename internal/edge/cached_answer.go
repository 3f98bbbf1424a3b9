package edge

import (
	"github.com/springtide/springtide/internal/cache"
	"github.com/springtide/springtide/internal/message"
)

// beginStored sends the head of an answer of the cache's.
func (x *exchange) beginStored(stored *cache.Answer, leaving bool) error {
	x.answer = answer{Response: message.Response{Status: stored.Status}, declared: stored.Length(), leaving: leaving}
	client, ok := x.client.(preparer)
	if added, whole := x.protection.adds(x, stored); ok && stored.Stored() && whole {
		x.answer.Fields = added
		x.speaking.Lock()
		defer x.speaking.Unlock()
		x.opening(&x.answer)
		return client.beginStored(&x.answer, stored)
	}
	x.answer.Fields = stored.AppendFields(nil)
	x.answer.length = max(0, x.answer.declared)
	return x.begin(&x.answer)
}
