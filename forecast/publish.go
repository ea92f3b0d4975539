package forecast

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ConfigMap returns what a ConfigMap has that publishes the document, in the format of the
// carbon-intensity exporter and with keys of Gridlatch's own. [FromConfigMap] with the key "data"
// reads the result back, but for the counts of bad elements. Whoever reads the format of the exporter
// can read the result. written is when the document is written. A sentence that is too long is cut, and
// a location that readers would refuse is left out, as the message says.
func (d Document) ConfigMap(written time.Time) (binaryData map[string][]byte, data map[string]string, err error) {
	d = d.bounded()
	binaryData = map[string][]byte{}
	if binaryData[actualsKey], err = encodeActuals(d.Actuals); err != nil {
		return nil, nil, err
	}
	if len(d.Levelled) > 0 {
		if binaryData[levelledKey], err = encodeActuals(d.Levelled); err != nil {
			return nil, nil, err
		}
	}
	if len(d.Weather) > 0 {
		if binaryData[weatherKey], err = encodeWeather(d.Weather); err != nil {
			return nil, nil, err
		}
	}
	details, err := json.Marshal(d.Details)
	if err != nil {
		return nil, nil, fmt.Errorf("encode the details: %w", err)
	}
	elements := d.Published()
	data = map[string]string{
		heartbeatKey: written.UTC().String(), messageKey: d.Message, countKey: strconv.Itoa(len(elements)), detailsKey: string(details),
		sourceKey: d.each(func(l Details) string { return l.Origin.Provider }), kindKey: d.each(func(l Details) string { return l.Origin.Signal.String() }),
		attributionKey: d.each(func(l Details) string { return l.Attribution }),
	}
	if d.Note != "" {
		data[noteKey] = d.Note
	}
	if len(elements) == 0 {
		return binaryData, data, nil
	}
	if binaryData[defaultSeriesKey], err = json.Marshal(elements); err != nil {
		return nil, nil, fmt.Errorf("encode the forecast: %w", err)
	}
	least, most := math.Inf(1), math.Inf(-1)
	for _, e := range elements {
		least, most = min(least, e.Value), max(most, e.Value)
	}
	data[firstKey] = elements[0].Timestamp.String()
	data[minKey], data[maxKey] = fmt.Sprintf("%f", least), fmt.Sprintf("%f", most)
	return binaryData, data, nil
}

// PublishedElement is an element of the exporter's array, with the fields in the exporter's order.
type PublishedElement struct {
	Location  string    `json:"location,omitempty"`
	Timestamp time.Time `json:"timestamp"`
	Duration  float64   `json:"duration"` // in minutes
	Value     float64   `json:"value"`
}

// Published returns the slots of all forecasts as the exporter publishes them, by location and time.
// [Parse] reads the result as JSON.
func (d Document) Published() []PublishedElement {
	var elements []PublishedElement
	for _, location := range slices.Sorted(maps.Keys(d.Series)) {
		for _, s := range d.Series[location].Slots() {
			elements = append(elements, PublishedElement{location, s.Start, s.End.Sub(s.Start).Minutes(), s.Intensity})
		}
	}
	return elements
}

// each returns the different texts that the details of the locations have, in order.
func (d Document) each(text func(Details) string) string {
	var all []string
	for _, location := range slices.Sorted(maps.Keys(d.Details)) {
		if t := text(d.Details[location]); t != "" && !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	return strings.Join(all, "; ")
}

// IssuedAt returns when the forecast of a location was issued, or the zero time if that is unknown.
func (d Document) IssuedAt(location string) time.Time {
	if details, ok := d.Details[location]; ok {
		return details.Issued
	}
	return d.Issued
}

// HasSameContent reports whether two ConfigMaps have the same content: all but when they were
// written.
func HasSameContent(binaryA, binaryB map[string][]byte, dataA, dataB map[string]string) bool {
	a, b := maps.Clone(dataA), maps.Clone(dataB)
	delete(a, heartbeatKey)
	delete(b, heartbeatKey)
	return maps.Equal(a, b) && maps.EqualFunc(binaryA, binaryB, bytes.Equal)
}
