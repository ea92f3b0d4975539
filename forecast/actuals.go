package forecast

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"sort"
	"time"
)

// maxActualsSize bounds the bytes of actual intensities after decompression: eight weeks of 256
// locations in slots of an hour take less.
const maxActualsSize = 4 << 20

// maxActuals bounds the slots of all locations, and so the memory that a document takes: eight weeks
// of 64 locations in slots of a quarter of an hour.
const maxActuals = 64 * 56 * day * 4

// actualRun has actual intensities of slots that follow each other and are equally long. An unknown
// intensity is null.
type actualRun struct {
	Location string     `json:"location,omitempty"`
	Start    time.Time  `json:"start"`
	Minutes  float64    `json:"minutes"` // the length of a slot
	Values   []*float64 `json:"values"`  // in gCO2eq/kWh
}

// encodeActuals encodes the actual intensities of each location: an array of runs in JSON, compressed
// by gzip. Equal actuals give equal bytes.
func encodeActuals(actuals map[string]*Series) ([]byte, error) {
	runs := []actualRun{}
	for _, location := range slices.Sorted(maps.Keys(actuals)) {
		runs = append(runs, runsOf(location, actuals[location])...)
	}
	var encoded bytes.Buffer
	z := gzip.NewWriter(&encoded)
	if err := json.NewEncoder(z).Encode(runs); err != nil {
		return nil, fmt.Errorf("encode the actual intensities: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("encode the actual intensities: %w", err)
	}
	return encoded.Bytes(), nil
}

// maxRunGap is how many unknown slots a run may have in a row.
const maxRunGap = 24

// runsOf returns the slots of a series as runs, with two decimals.
func runsOf(location string, series *Series) []actualRun {
	var runs []actualRun
	var end time.Time // of the last run
	for _, s := range series.Slots() {
		width := s.End.Sub(s.Start)
		gap := s.Start.Sub(end)
		if n := len(runs); n == 0 || runs[n-1].Minutes != width.Minutes() || gap%width != 0 || gap/width > maxRunGap {
			runs, gap = append(runs, actualRun{Location: location, Start: s.Start, Minutes: width.Minutes()}), 0
		}
		last := &runs[len(runs)-1]
		last.Values = append(last.Values, make([]*float64, gap/width)...)
		value := math.Round(s.Intensity*100) / 100
		last.Values, end = append(last.Values, &value), s.End
	}
	return runs
}

// decodeActuals reads what encodeActuals writes. Without data there are no actuals.
func decodeActuals(encoded []byte) (map[string]*Series, error) {
	if len(encoded) == 0 {
		return nil, nil
	}
	plain, err := decompress(encoded)
	if err != nil {
		return nil, err
	}
	slots, count := map[string][]Slot{}, 0
	err = eachRun(plain, func(r actualRun) error {
		if count += len(r.Values); count > maxActuals {
			return fmt.Errorf("want at most %d slots in all", maxActuals)
		}
		if err := r.check(); err != nil {
			return err
		}
		slots[r.Location] = r.appendTo(slots[r.Location])
		if len(slots) > maxLocations {
			return fmt.Errorf("want at most %d locations", maxLocations)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	actuals := make(map[string]*Series, len(slots))
	for location, known := range slots {
		if len(known) > 0 {
			actuals[location] = NewSeries(known)
		}
	}
	return actuals, nil
}

// eachRun calls a function with each run of a JSON array. One run is in memory at a time: a few bytes of an
// array have millions of empty ones.
func eachRun[T any](plain []byte, use func(T) error) error {
	runs := json.NewDecoder(bytes.NewReader(plain))
	if start, err := runs.Token(); err != nil || start != json.Delim('[') {
		return fmt.Errorf("want an array of runs, not %.40q", plain)
	}
	for i := 0; runs.More(); i++ {
		var run T
		if err := runs.Decode(&run); err != nil {
			return fmt.Errorf("want an array of runs: run %d: %w", i, err)
		}
		if err := use(run); err != nil {
			return fmt.Errorf("run %d: %w", i, err)
		}
	}
	if _, err := runs.Token(); err != nil {
		return fmt.Errorf("want an array of runs: %w", err)
	}
	if _, err := runs.Token(); !errors.Is(err, io.EOF) {
		return errors.New("want an array of runs, and nothing after it")
	}
	return nil
}

// decompress returns what gzip has compressed.
func decompress(encoded []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(encoded))
	if err != nil {
		return nil, fmt.Errorf("want data that gzip has compressed: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(z, maxActualsSize+1))
	if err != nil {
		return nil, fmt.Errorf("the compressed data is damaged: %w", err)
	}
	if len(plain) > maxActualsSize {
		return nil, fmt.Errorf("want at most %d bytes after decompression", maxActualsSize)
	}
	return plain, nil
}

// width returns the length of a slot.
func (r actualRun) width() time.Duration {
	return time.Duration(math.Round(r.Minutes * float64(time.Minute)))
}

// check returns an error if the run cannot be one of encodeActuals.
func (r actualRun) check() error {
	switch {
	case !(r.Minutes > 0 && r.Minutes <= maxDuration.Minutes()) || r.width() <= 0:
		return fmt.Errorf("minutes: %v: want above 0 and up to %v", r.Minutes, maxDuration.Minutes())
	case isLongName(r.Location):
		return fmt.Errorf("location: %.40q: want a name of at most %d characters", r.Location, maxNameLength)
	case r.Start.Year() < 2000 || r.Start.Year() > 2200:
		return errors.New("start: want the years 2000 to 2200")
	}
	return nil
}

// appendTo appends the known slots of the run.
func (r actualRun) appendTo(slots []Slot) []Slot {
	start, width := r.Start.UTC(), r.width()
	for _, v := range r.Values {
		if v != nil {
			slots = append(slots, Slot{start, start.Add(width), *v})
		}
		start = start.Add(width)
	}
	return slots
}

// revisedBy returns the actual intensities after a newer document: what is believed of the
// document, and of the time before that what was known. It shares the memory of the document, and
// copies slots only if it joins both or leaves some out. If nothing of the document is believed, all
// stays as it was.
func (s *Series) revisedBy(newer *Series, now time.Time) *Series {
	from := now.Add(-retentionHours * time.Hour)
	newer = newer.slotsWithin(from, now)
	joined := newer
	if before := s.slotsWithin(from, now); !before.IsEmpty() && before.Start().Before(newer.Start()) {
		joined = before.Splice(newer, before.Start())
	}
	v := Believe(joined)
	switch {
	case newer.IsEmpty() || !v.Believed.End().After(newer.Start()):
		return s
	case v.Doubted == 0:
		return joined
	default:
		return v.Believed
	}
}

// slotsWithin returns the slots that end after an instant and have begun at another. The slots are
// not copied.
func (s *Series) slotsWithin(from, now time.Time) *Series {
	steps := s.all()
	first := s.firstEndingAfter(nanos(from))
	begun := sort.Search(len(steps), func(i int) bool { return steps[i].start > nanos(now) })
	if first >= begun {
		return &Series{}
	}
	return &Series{steps[first:begun:begun]}
}
