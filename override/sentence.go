package override

import "strings"

// MaxSentence bounds the bytes of each part of a sentence on an object.
const MaxSentence = 500

// Sentence says on an object why a field has its value.
type Sentence struct {
	// Reason stays true for as long as the field has this value. Detail is true at the moment at which
	// the value is set.
	Reason, Detail string
}

// Over returns the sentence in full. It returns the sentence that is present if that is still true.
func (s Sentence) Over(present string) string {
	reason := Shorten(s.Reason, MaxSentence)
	if present == reason || strings.HasPrefix(present, reason+"; ") {
		return present
	}
	if s.Detail == "" {
		return reason
	}
	return reason + "; " + Shorten(s.Detail, MaxSentence)
}

// Shorten cuts a text of somebody else to a size that an object can bear.
func Shorten(text string, maxBytes int) string {
	if len(text) <= maxBytes {
		return text
	}
	return strings.ToValidUTF8(text[:maxBytes], "") + "…"
}
