package forecast

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	maxDocumentSize = 4 << 20 // bytes of a document; a ConfigMap holds 1 MiB
	maxProblems     = 10      // problems kept of one document
	maxNameSize     = 253     // bytes of a location's name, as in a CarbonPolicy
	// maxLocations bounds what one document makes the store learn of: a model comes to take more than half a megabyte. In
	// its 1 MiB, a ConfigMap has room for a day of 36 locations in slots of five minutes, or two days of 200 by the hour.
	maxLocations = 256
)

// Document is one publication of a source: the forecasts of one or several locations.
type Document struct {
	// Series holds a non-empty series per location; "" is the location of elements that name none.
	Series map[string]*Series
	// Issued is when the forecast was made, as far as is known; the zero time if it is not.
	Issued time.Time
	// Elements counts the elements of the document, Bad those of them that could not be used.
	Elements, BadElements int
	// Problems says what was wrong with ten of the bad elements at most, which are numbered from 0:
	// `element 17: duration: "x": want minutes, above 0 and up to 44640`.
	Problems []string
	// Unknown spans, per location, the slots of the elements whose value alone could not be used: the issue speaks of that
	// time, and does not know.
	UnknownSpans map[string]Slot
}

// span is the time that the issue speaks of at a location: also where an element has no value of use.
func (d Document) span(location string) (from, until time.Time) {
	from, until = d.Series[location].Start(), d.Series[location].End()
	if s, ok := d.UnknownSpans[location]; ok {
		from, until = earlier(from, s.Start), later(until, s.End)
	}
	return from, until
}

// speak widens the span of a location by the slot of an element whose value is of no use, if that much could be read.
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

// Problem sums the bad elements up in one sentence; "" if there are none.
func (d Document) Problem() string {
	switch d.BadElements {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("1 of %d elements is bad: %s", d.Elements, d.Problems[0])
	}
	return fmt.Sprintf("%d of %d elements are bad, the first: %s", d.BadElements, d.Elements, d.Problems[0])
}

// Parse reads the JSON array of the carbon-intensity exporter (github.com/Azure/kubernetes-carbon-intensity-exporter):
//
//	[{"location":"PJM_ROANOKE","timestamp":"2023-03-31T00:00:00Z","duration":5,"value":550.98}, …]
//
// with the duration in minutes and the value in gCO2eq/kWh. The elements may be in any order, of several locations,
// and may overlap (see [NewSeries]). Names match in any case; unknown ones are ignored.
//
//   - location has up to 253 bytes, and may be left out in all elements, not in some. There are up to 256 locations: the
//     first that are named.
//   - timestamp (or time) is RFC 3339. The seconds and the zone (then UTC) may be left out, a space may stand for the
//     T, and what Go prints for a time is read, too. The years are 2000 to 2200.
//   - duration is above zero and up to 31 days: minutes (5, 5.0, "5"), "00:05:00", "5m" or "PT5M".
//   - value (or rating) is a number or a string of one, up to [MaxIntensity] either way. Where it is left out, it is 0,
//     as the exporter leaves zeros out: beside elements that have one, and if there is no other field that it could be
//     in. A null is not known.
//
// An element that breaks these rules is left out and reported in Problems. What is no JSON array of at most 4 MiB,
// which includes a truncated one, or has no usable element, or no value, is an error and the Document is zero. Whether the
// values can be true is for [Model.Receive] to say, which knows the past.
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

// slots reads the elements, by location, and rejects those that cannot be used. It counts those that have a value.
func (d *Document) slots(elements []json.RawMessage) (slots map[string][]Slot, values int) {
	slots = map[string][]Slot{}
	var unnamed []int
	for n, raw := range elements {
		location, slot, valued, err := parseElement(raw)
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
		if valued {
			values++
		}
		slots[location] = append(slots[location], slot)
	}
	if len(slots) > 1 { // one without a name would answer to all that name none
		for _, n := range unnamed {
			d.reject(n, errors.New(`location: "": want a name, as others have`))
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

// array splits a JSON array, after a byte order mark if there is one, into its elements, of which there is one at least.
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
		return nil, errors.New("forecast is an empty array, want one element at least")
	}
	return elements, nil
}
