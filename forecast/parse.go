package forecast

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	maxDocumentSize = 4 << 20 // bytes of a document; a ConfigMap carries at most 1 MiB
	maxProblems     = 10      // the most problems that a document lists
	maxNameLength   = 253     // characters of a location's name, as in a CarbonPolicy
	// maxLocations bounds the locations of one document, and so the memory of the store: a model
	// grows to more than half a megabyte. The 1 MiB of a ConfigMap is enough for one day of 36
	// locations in slots of five minutes, or for two days of 200 locations in slots of an hour.
	maxLocations = 256
)

// Document is one publication of a source: the forecasts of one or several locations.
type Document struct {
	// Series has a non-empty series for each location. The name "" stands for elements without a
	// location.
	Series map[string]*Series
	// Issued is when the forecast was made, or the zero time if that is unknown.
	Issued time.Time
	// Elements counts all elements of the document, BadElements those that are left out.
	Elements, BadElements int
	// Problems says what is wrong with the first ten bad elements. Elements are numbered from 0:
	// `element 17: duration: "x": want minutes, above 0 and up to 44640`.
	Problems []string
	// UnknownSpans has, for each location, the time from the first to the last slot whose value
	// alone is bad. The document speaks of that time without knowing its intensity.
	UnknownSpans map[string]Slot

	// Actuals has, for each location of which the document knows the past, what the intensity was.
	Actuals map[string]*Series
	// Levelled has, for each location, what the intensity was in hours of which Actuals does not say it:
	// what a second source says, at the level of the provider. See [Level]. Models learn from it as from
	// actual intensities. It is an estimate, and never among [Forecast.Actuals].
	Levelled map[string]*Series
	// Weather has, for each location of which the document knows the weather, what is expected and, perhaps,
	// what was.
	Weather map[string]Weather
	// Details has, for each location, what the document says of its series. A document that was not
	// written by Gridlatch has none.
	Details map[string]Details
	// Message says what the writer could not do; "" if all is well. Only a document with details has
	// a message.
	Message string
	// Note says what readers should know, and nobody has to mend; "" if there is nothing. Only a
	// document with details has a note.
	Note string
}

// span returns the time that the document speaks of at a location, including slots with a bad
// value.
func (d Document) span(location string) (from, until time.Time) {
	from, until = d.Series[location].Start(), d.Series[location].End()
	if s, ok := d.UnknownSpans[location]; ok {
		from, until = earlier(from, s.Start), later(until, s.End)
	}
	return from, until
}

// widenUnknown extends the unknown span of a location to a slot whose value is bad. It does nothing
// if the slot is bad, too.
func (d *Document) widenUnknown(location string, of Slot) {
	if of.End.IsZero() {
		return
	}
	if d.UnknownSpans == nil {
		d.UnknownSpans = map[string]Slot{}
	}
	if s, ok := d.UnknownSpans[location]; ok {
		of.Start, of.End = earlier(of.Start, s.Start), later(of.End, s.End)
	}
	d.UnknownSpans[location] = Slot{Start: of.Start, End: of.End}
}

// Problem describes the bad elements and what the writer could not do; "" if all is well.
func (d Document) Problem() string {
	problem := d.elementProblem()
	if d.Message != "" { // it covers what the details say
		return join(problem, d.Message)
	}
	for _, location := range slices.Sorted(maps.Keys(d.Details)) {
		if more := d.Details[location].Problem; more != "" {
			problem = appendProblem(problem, location, more)
		}
	}
	return problem
}

// elementProblem describes the bad elements; "" if there are none.
func (d Document) elementProblem() string {
	switch d.BadElements {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("1 of %d elements is bad: %s", d.Elements, d.Problems[0])
	default:
		return fmt.Sprintf("%d of %d elements are bad, the first: %s", d.BadElements, d.Elements, d.Problems[0])
	}
}

// Parse reads the JSON array of the carbon-intensity exporter
// (github.com/Azure/kubernetes-carbon-intensity-exporter):
//
//	[{"location":"PJM_ROANOKE","timestamp":"2023-03-31T00:00:00Z","duration":5,"value":550.98}, …]
//
// The duration is in minutes and the value in gCO2eq/kWh. Elements may come in any order, may
// belong to several locations, and may overlap (see [NewSeries]). Upper and lower case in field
// names do not matter, and unknown fields are ignored.
//
//   - location has up to 253 characters. Either all elements have a location or none has. A document may
//     have 256 locations; elements of further ones are bad.
//   - timestamp (or time) is RFC 3339. The seconds may be left out, and so may the zone, which is
//     then UTC. A space may stand for the T, and the format of Go's Time.String is accepted. The
//     years are 2000 to 2200.
//   - duration is above zero and up to 31 days: minutes (5, 5.0, "5"), "00:05:00", "5m" or "PT5M".
//   - value (or rating) is a number, or a string with a number, up to [MaxIntensity] either way. An
//     element without a value means 0, since the exporter leaves zeros out. That needs other
//     elements with a value, and no other field that may be the value. A null is unknown.
//
// Parse leaves out an element that breaks these rules and reports the element in Problems. Parse
// returns an error and a zero Document for anything but a complete JSON array of at most 4 MiB, and
// for an array without a usable element or without any value. Whether the values can be true is
// decided by [Model.Receive], which knows the past.
func Parse(data []byte) (Document, error) {
	if len(data) > maxDocumentSize {
		return Document{}, fmt.Errorf("forecast has %d bytes, want at most %d", len(data), maxDocumentSize)
	}
	elements, err := splitArray(data)
	if err != nil {
		return Document{}, err
	}
	document := Document{Series: map[string]*Series{}, Elements: len(elements)}
	slots, values := document.slots(elements)
	switch {
	case len(slots) == 0:
		return Document{}, fmt.Errorf("forecast has no usable element: %s", document.Problem())
	case values == 0:
		return Document{}, fmt.Errorf("forecast has no value in any of its %d elements: want value, in gCO2eq/kWh", len(elements))
	}
	for location, slots := range slots {
		document.Series[location] = NewSeries(slots)
	}
	return document, nil
}

// slots reads the elements by location, rejects the bad ones, and counts the elements that have a
// value.
func (d *Document) slots(elements []json.RawMessage) (slots map[string][]Slot, values int) {
	slots = map[string][]Slot{}
	var unnamed []int
	for n, raw := range elements {
		location, slot, hasValue, err := parseElement(raw)
		if err == nil && slots[location] == nil && len(slots) == maxLocations {
			err = fmt.Errorf("location: %.40q: want at most %d locations", location, maxLocations)
		}
		if err != nil {
			d.reject(n, err)
			d.widenUnknown(location, slot)
			continue
		}
		if location == "" {
			unnamed = append(unnamed, n)
		}
		if hasValue {
			values++
		}
		slots[location] = append(slots[location], slot)
	}
	if len(slots) > 1 { // a nameless forecast would answer for every name
		for _, n := range unnamed {
			d.reject(n, errors.New(`location: "": want a name, since other elements have one`))
		}
		delete(slots, "")
	}
	return slots, values
}

func (d *Document) reject(element int, err error) {
	d.BadElements++
	if len(d.Problems) < maxProblems {
		d.Problems = append(d.Problems, fmt.Sprintf("element %d: %v", element, err))
	}
}

// splitArray returns the elements of a JSON array, which may follow a byte order mark. An empty
// array is an error.
func splitArray(data []byte) ([]json.RawMessage, error) {
	document := bytes.TrimPrefix(data, []byte("\ufeff"))
	var elements []json.RawMessage
	err := json.Unmarshal(document, &elements)
	if broken, ok := errors.AsType[*json.SyntaxError](err); ok {
		at := broken.Offset + int64(len(data)-len(document))
		return nil, fmt.Errorf("forecast is broken at byte %d: %w", at, err)
	}
	if err != nil || elements == nil {
		return nil, fmt.Errorf("forecast is %.40q, want a JSON array", document)
	}
	if len(elements) == 0 {
		return nil, errors.New("forecast is an empty array, want at least one element")
	}
	return elements, nil
}
