package forecast

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxTextSize bounds the bytes of a sentence in a document.
const maxTextSize = 1024

// bounded returns a document that readers take. Sentences that are too long are cut. Locations that
// break the rules are left out, as the message says.
func (d Document) bounded() Document {
	left := d
	left.Series, left.Actuals, left.Details = maps.Clone(d.Series), maps.Clone(d.Actuals), maps.Clone(d.Details)
	left.Weather, left.Levelled = maps.Clone(d.Weather), maps.Clone(d.Levelled)
	var problems []string
	for i, location := range d.locations() {
		err := d.checkLocation(location)
		if err == nil && i-len(problems) >= maxLocations {
			err = fmt.Errorf("want at most %d locations", maxLocations)
		}
		if err != nil {
			problems = append(problems, fmt.Sprintf("location %.40q is left out: %v", location, err))
			delete(left.Series, location)
			delete(left.Actuals, location)
			delete(left.Levelled, location)
			delete(left.Details, location)
			delete(left.Weather, location)
		} else if details, ok := d.Details[location]; ok {
			details.Attribution, details.Problem, details.Second = cut(details.Attribution), cut(details.Problem), details.Second.cut()
			left.Details[location] = details
		}
	}
	if more := len(problems) - maxProblems; more > 0 {
		problems = append(problems[:maxProblems], fmt.Sprintf("%d more are left out", more))
	}
	left.Message = join(strings.Join(problems, "; "), d.Message)
	left.Message, left.Note = cut(left.Message), cut(d.Note)
	return left
}

// checkLocation returns an error if readers refuse what the document says of a location.
func (d Document) checkLocation(location string) error {
	if isLongName(location) {
		return fmt.Errorf("want a name of at most %d characters", maxNameLength)
	}
	if err := d.Details[location].checkSecond(); err != nil {
		return err
	}
	return d.Details[location].Origin.check()
}

// check returns an error if a name is longer than those of Gridlatch, or if Gridlatch does not know the
// signal.
func (o Origin) check() error {
	switch {
	case isLongName(o.Provider), isLongName(o.Zone), isLongName(o.Past):
		return fmt.Errorf("origin: want a provider and a zone of at most %d characters each", maxNameLength)
	case !slices.Contains([]Kind{"", Average, Marginal}, o.Signal.Kind):
		return fmt.Errorf("origin: kind: %.40q: want %s or %s", o.Signal.Kind, Average, Marginal)
	case !slices.Contains([]EmissionFactors{"", LifeCycle, Direct}, o.Signal.EmissionFactors):
		return fmt.Errorf("origin: emissionFactors: %.40q: want %s or %s", o.Signal.EmissionFactors, LifeCycle, Direct)
	}
	return nil
}

// isLongName reports whether a name is longer than a CarbonPolicy allows.
func isLongName(name string) bool { return utf8.RuneCountInString(name) > maxNameLength }

// cut returns a sentence of at most [maxTextSize] bytes. No character is cut in two.
func cut(sentence string) string {
	const ellipsis = "…"
	sentence = strings.ToValidUTF8(sentence, string(utf8.RuneError))
	if len(sentence) <= maxTextSize {
		return sentence
	}
	return strings.ToValidUTF8(sentence[:maxTextSize-len(ellipsis)], "") + ellipsis
}
