package edge

import (
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/springtide/springtide/internal/message"
)

// countsForwards says that a request bounds how often it is passed on.
func (x *exchange) countsForwards() bool {
	return (x.request.Method == http.MethodOptions || x.request.Method == http.MethodTrace) && x.request.Fields.Has("Max-Forwards")
}

// isLast counts the Max-Forwards of a request down (RFC 9110, section 7.6.2).
// If it has come to its end the request is for the edge, which answers it.
func (e *edge) isLast(x *exchange) bool {
	for i := range x.request.Fields {
		field := &x.request.Fields[i]
		if !strings.EqualFold(field.Name, "Max-Forwards") {
			continue
		}
		left, err := strconv.ParseUint(field.Value, 10, 63)
		switch {
		case err != nil && (field.Value == "" || strings.Trim(field.Value, "0123456789") != ""):
			e.refuse(x, http.StatusBadRequest, 0, "Max-Forwards is not a number")
			return true
		case left > 0:
			field.Value = strconv.FormatUint(min(left, math.MaxInt64)-1, 10)
		case x.request.Method == http.MethodTrace: // it would tell what the client did not write
			e.refuse(x, http.StatusNotImplemented, 0, "the edge does not say back what it was asked")
			return true
		default:
			e.reply(x, http.StatusNoContent, message.Fields{}, "")
			return true
		}
	}
	return false
}
