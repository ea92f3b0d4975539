package provider

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// A part is what a caller wants of a response that may have both.
type part int

const (
	theForecast part = iota
	thePast
)

// A tally gathers what one or several responses say of a zone.
type tally struct {
	points []point         // slots whose end the response does not state
	slots  []forecast.Slot // slots with both ends
	// width is how long the slots of points are; 0 if the response does not say.
	width      time.Duration
	issued     time.Time
	elements   int
	bad        int
	problem    string // of the first bad element
	unknown    int
	estimated  int
	incomplete error
	// from is where the part of a past begins that the provider has answered for.
	from time.Time
}

// A point is the beginning of a slot. An unknown value is NaN.
type point struct {
	at    time.Time
	value float64
}

// reject notes an element that cannot be read.
func (t *tally) reject(err error) {
	t.bad++
	if t.bad == 1 {
		t.problem = fmt.Sprintf("element %d: %v", t.elements-1, err)
	}
}

// addPoint notes an element that begins at an instant. A null is no value.
func (t *tally) addPoint(at string, value json.RawMessage, factor float64) {
	t.elements++
	instant, err := forecast.ParseTime(at)
	if err != nil {
		t.reject(err)
		return
	}
	v, err := number(value)
	if err != nil {
		t.reject(err)
		v = math.NaN()
	} else if math.IsNaN(v) {
		t.unknown++
	}
	t.points = append(t.points, point{instant, v * factor})
}

// addSlot notes an element with a beginning and an end. A null is no value.
func (t *tally) addSlot(from, to string, value json.RawMessage) {
	t.elements++
	start, err := forecast.ParseTime(from)
	if err != nil {
		t.reject(err)
		return
	}
	end, err := forecast.ParseTime(to)
	if err != nil {
		t.reject(err)
		return
	}
	if !start.Before(end) || end.Sub(start) > maxSlotWidth {
		t.reject(fmt.Errorf("to: %.40q: want at most %v after %.40q", to, maxSlotWidth, from))
		return
	}
	v, err := number(value)
	switch {
	case err != nil:
		t.reject(err)
	case math.IsNaN(v):
		t.unknown++
	default:
		t.slots = append(t.slots, forecast.Slot{Start: start, End: end, Intensity: v})
	}
}

// number reads an intensity, as a number or as text. A null, or nothing, is NaN.
func number(raw json.RawMessage) (float64, error) {
	text := string(raw)
	if text == "" || text == "null" {
		return math.NaN(), nil
	}
	if text[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			return 0, fmt.Errorf("%.40q: %w", raw, err)
		}
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(math.Abs(v) <= forecast.MaxIntensity) {
		return 0, fmt.Errorf("%.40q: want a number from %.0f to %.0f", text, -forecast.MaxIntensity, forecast.MaxIntensity)
	}
	return v, nil
}

// join takes over what another response says. Where both know a slot, the one that is there stays.
func (t *tally) join(o tally) {
	if t.problem == "" {
		t.problem = o.problem
	}
	if o.width > 0 { // each response states the width of its own slots
		o.points, o.slots = nil, append(slotsOf(o.points, o.width), o.slots...)
	}
	t.points, t.slots = append(t.points, o.points...), append(t.slots, o.slots...)
	t.elements, t.bad, t.unknown, t.estimated = t.elements+o.elements, t.bad+o.bad, t.unknown+o.unknown, t.estimated+o.estimated
}

// series returns the slots, without judging their values.
func (t *tally) series(usualWidth time.Duration) *forecast.Series {
	if t.width > 0 {
		return forecast.NewSeries(append(slotsOf(t.points, t.width), t.slots...))
	}
	return forecast.NewSeries(append(inferSlots(t.points, usualWidth), t.slots...))
}

// reading judges the values. A reading without any value that can be true is [ErrNoData].
func (t *tally) reading(zone string, signal forecast.Signal, usualWidth time.Duration) (Reading, error) {
	verdict := forecast.Believe(t.series(usualWidth))
	if verdict.Believed.IsEmpty() {
		return Reading{}, t.noData(zone, verdict)
	}
	return Reading{
		Zone: zone, Signal: signal, Series: verdict.Believed, Issued: t.issued,
		Elements: t.elements, BadElements: t.bad, Unknown: t.unknown, Estimated: t.estimated, Problem: t.problem,
		Doubted: verdict.Doubted, Doubt: verdict.Doubt, Incomplete: t.incomplete,
	}, nil
}

// noData says why nothing is usable.
func (t *tally) noData(zone string, verdict forecast.Verdict) error {
	switch {
	case verdict.Doubt != "":
		return fmt.Errorf("zone %.40q: %w: %s", zone, ErrNoData, verdict.Doubt)
	case t.problem != "":
		return fmt.Errorf("zone %.40q: %w: %d of %d elements are bad, the first: %s", zone, ErrNoData, t.bad, t.elements, t.problem)
	case t.incomplete != nil:
		return fmt.Errorf("zone %.40q: %w: %w", zone, ErrNoData, t.incomplete)
	}
	return fmt.Errorf("zone %.40q: %w in %d elements", zone, ErrNoData, t.elements)
}

// pastReading returns the part of the past in [from, to). The values are judged by all that is
// known around them. A span ends now at the latest: what comes after now is no past, whatever the
// provider says.
func (t *tally) pastReading(zone string, signal forecast.Signal, usualWidth time.Duration, span span) (Reading, error) {
	r, err := t.reading(zone, signal, usualWidth)
	if err != nil {
		return Reading{}, err
	}
	r.Series, r.Issued, r.From = span.cut(r.Series), time.Time{}, span.from
	switch {
	case t.from.After(span.to): // nothing of the span
		r.From = span.to
	case t.from.After(span.from):
		r.From = t.from
	}
	return r, nil
}

// forecastReading returns a forecast. A forecast is not made after now: then the provider's clock
// is ahead.
func (t *tally) forecastReading(zone string, signal forecast.Signal, usualWidth time.Duration, now time.Time) (Reading, error) {
	r, err := t.reading(zone, signal, usualWidth)
	if err == nil && r.Issued.After(now) {
		r.Issued = now.UTC()
	}
	if err == nil && !r.Series.End().After(now) {
		return Reading{}, fmt.Errorf("zone %.40q: %w: the forecast ends at %s, before now", zone, ErrNoData, r.Series.End().Format(time.RFC3339))
	}
	return r, err
}

// A list is a JSON array of at most maxElements elements.
type list []json.RawMessage

// UnmarshalJSON reads an array. A null is no list.
func (l *list) UnmarshalJSON(body []byte) error {
	if string(body) == "null" {
		return nil
	}
	*l = list{}
	return eachElement(body, func(element json.RawMessage) { *l = append(*l, bytes.Clone(element)) })
}

// An elementCount is how many elements a JSON array has. To count takes no memory.
type elementCount int

// UnmarshalJSON counts the elements of an array.
func (n *elementCount) UnmarshalJSON(body []byte) error {
	*n = 0
	return eachElement(body, func(json.RawMessage) { *n++ })
}

// eachElement calls a function with each element of an array of at most maxElements. The function must
// not keep the element.
func eachElement(body []byte, use func(json.RawMessage)) error {
	elements := json.NewDecoder(bytes.NewReader(body))
	if start, err := elements.Token(); err != nil || start != json.Delim('[') {
		return fmt.Errorf("%.40q: want a list", body)
	}
	var element json.RawMessage
	for n := 0; elements.More(); n++ {
		if n == maxElements {
			return fmt.Errorf("a list of more than %d elements", maxElements)
		}
		if err := elements.Decode(&element); err != nil {
			return err
		}
		use(element)
	}
	return nil
}

// decode reads a JSON document.
func decode(body []byte, into any) error {
	if isHTML(body) {
		return fmt.Errorf("%w: a page of HTML, want JSON: is a log-in page or a proxy in between?", ErrUnreadable)
	}
	err := json.Unmarshal(trimMark(body), into)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("%w: the JSON is broken at byte %d of %d: %w", ErrUnreadable, syntax.Offset, len(body), err)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return nil
}
