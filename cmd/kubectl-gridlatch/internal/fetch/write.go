package fetch

import (
	"encoding/csv"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// minRowWidth bounds the number of rows: a wide slot becomes several rows if others are narrow.
const minRowWidth = time.Minute

// WriteCSV writes the values as simulate reads them: the columns timestamp,intensity of a past, or
// issued,timestamp,intensity of a forecast. The reader takes the distance of two timestamps for the
// width of a slot. Therefore all slots are written as wide as the narrowest one.
func (d Data) WriteCSV(w io.Writer) error {
	header, first := []string{"timestamp", "intensity"}, []string(nil)
	if !d.Issued.IsZero() {
		header, first = append([]string{"issued"}, header...), []string{formatInstant(d.Issued)}
	}
	out := csv.NewWriter(w)
	if err := out.Write(header); err != nil {
		return err
	}
	width := narrowest(d.Series.Slots())
	for _, slot := range d.Series.Slots() {
		value := strconv.FormatFloat(slot.Intensity, 'f', -1, 64)
		for at := slot.Start; at.Before(slot.End); at = at.Add(width) {
			if err := out.Write(append(slices.Clone(first), formatInstant(at), value)); err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}

// narrowest returns the width of the narrowest slot, or minRowWidth if that is more.
func narrowest(slots []forecast.Slot) time.Duration {
	var width time.Duration
	for i, slot := range slots {
		if own := slot.End.Sub(slot.Start); i == 0 || own < width {
			width = own
		}
	}
	return max(width, minRowWidth)
}

func formatInstant(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// Published returns the values as the carbon-intensity exporter publishes them, and as plan reads them.
func (d Data) Published() []forecast.PublishedElement {
	return forecast.Document{Series: map[string]*forecast.Series{d.Zone: d.Series}}.Published()
}
