package edge

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cache"
	"github.com/springtide/springtide/internal/message"
)

// fieldRule is a field that answers are to have.
type fieldRule struct {
	message.Field      // without a value it is taken out
	always        bool // in place of the app's own
	trusted       bool // only over TLS with a certificate that everybody knows
}

// defaultRules are fields that no app is known to break by, for answers that do
// not have them. How long a browser insists on TLS is half a year, and only for
// hosts whose certificate it will go on to accept. X-Frame-Options is not among
// them: there are apps that are made to be embedded.
func defaultRules() []fieldRule {
	return []fieldRule{
		{Field: message.Field{Name: "X-Content-Type-Options", Value: "nosniff"}},
		{Field: message.Field{Name: "Referrer-Policy", Value: "strict-origin-when-cross-origin"}},
		{Field: message.Field{Name: "Strict-Transport-Security", Value: "max-age=15552000"}, trusted: true},
	}
}

// fieldRules gives the rules of a route: its own before the defaults.
func fieldRules(own map[string]string) []fieldRule {
	rules := defaultRules()
	for _, name := range slices.Sorted(maps.Keys(own)) {
		rule := fieldRule{Field: message.Field{Name: name, Value: own[name]}, always: true}
		rules = slices.DeleteFunc(rules, func(other fieldRule) bool { return strings.EqualFold(other.Name, name) })
		rules = append(rules, rule)
	}
	return rules[:min(len(rules), maxRules)]
}

// maxRules is how many a route may have: there is a bit for each.
const maxRules = 64

// dress gives the answer the fields that it is to have.
func (p *protection) dress(x *exchange, a *answer) {
	if p == nil || a.Status < http.StatusOK {
		return
	}
	x.fields = x.fields[:0]
	said := uint64(0)
	for i := range a.Fields {
		rule := p.ruleOf(a.Fields[i].Name)
		if rule >= 0 {
			if p.rules[rule].always {
				continue
			}
			said |= 1 << rule
		}
		x.fields = append(x.fields, a.Fields[i])
	}
	x.fields = p.appendUnsaid(x.fields, said, x.vouched)
	a.Fields = x.fields
}

// appendUnsaid appends the fields of the rules that have no bit in said.
func (p *protection) appendUnsaid(to message.Fields, said uint64, vouched bool) message.Fields {
	for i := range p.rules {
		rule := &p.rules[i]
		if rule.Value != "" && said&(1<<i) == 0 && (!rule.trusted || vouched) {
			to = append(to, rule.Field)
		}
	}
	return to
}

// adds gives the fields that are added to a stored answer, and whether that is all
// there is to do: nothing of it is taken out.
func (p *protection) adds(x *exchange, stored *cache.Answer) (message.Fields, bool) {
	if p == nil {
		return nil, true
	}
	x.stored = stored.AppendStored(x.stored[:0])
	said := uint64(0)
	for i := range x.stored {
		rule := p.ruleOf(x.stored[i].Name)
		if rule < 0 {
			continue
		}
		if p.rules[rule].always {
			return nil, false
		}
		said |= 1 << rule
	}
	x.fields = p.appendUnsaid(x.fields[:0], said, x.vouched)
	return x.fields, true
}

func (p *protection) ruleOf(name string) int {
	if p.lengths&(1<<(len(name)%64)) == 0 { // so it is for most
		return -1
	}
	for i := range p.rules {
		if len(p.rules[i].Name) == len(name) && strings.EqualFold(p.rules[i].Name, name) {
			return i
		}
	}
	return -1
}

// checkFields says what is wrong with the fields of a route.
func checkFields(own map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(own)) {
		if err := springtide.CheckHeader(name, own[name]); err != nil {
			return err
		}
	}
	if limit := maxRules - len(defaultRules()); len(own) > limit {
		return springtide.Errorf(springtide.Invalid, "there are %d headers; at most %d", len(own), limit)
	}
	return nil
}
