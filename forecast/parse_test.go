package forecast

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseElement(t *testing.T) {
	const head = `{"location":"L","timestamp":"2026-03-31T00:00:00Z",`
	timestamp := func(s string) string { return `{"location":"L","timestamp":"` + s + `","duration":5,"value":1}` }
	for name, tt := range map[string]struct {
		json string
		want Slot
	}{
		"as the exporter writes it":       {head + `"duration":5,"value":550.98}`, slot(0, 5, 550.98)},
		"names in another case":           {`{"LOCATION":"L","TimeStamp":"2026-03-31T00:00:00Z","Duration":5,"VALUE":1}`, slot(0, 5, 1)},
		"the names time and rating":       {`{"location":"L","time":"2026-03-31T00:00:00Z","duration":"5","rating":1.5}`, slot(0, 5, 1.5)},
		"a null gives way to the alias":   {`{"location":"L","timestamp":null,"time":"2026-03-31T00:00:00Z","duration":5,"value":null,"rating":2}`, slot(0, 5, 2)},
		"unknown fields are ignored":      {head + `"duration":5,"value":1,"unit":{"a":[1]}}`, slot(0, 5, 1)},
		"a value in a string":             {head + `"duration":5,"value":"1.5"}`, slot(0, 5, 1.5)},
		"a negative value":                {head + `"duration":5,"value":-3}`, slot(0, 5, -3)},
		"minutes with a point":            {head + `"duration":5.0,"value":1}`, slot(0, 5, 1)},
		"half minutes":                    {head + `"duration":0.5,"value":1}`, Slot{at(0), at(0).Add(30 * time.Second), 1}},
		"minutes in a string":             {head + `"duration":"5","value":1}`, slot(0, 5, 1)},
		"a TimeSpan":                      {head + `"duration":"00:05:00","value":1}`, slot(0, 5, 1)},
		"a TimeSpan with a fraction":      {head + `"duration":"01:00:00.0000000","value":1}`, slot(0, 60, 1)},
		"a Go duration":                   {head + `"duration":"1h5m","value":1}`, slot(0, 65, 1)},
		"an ISO 8601 duration":            {head + `"duration":"PT5M","value":1}`, slot(0, 5, 1)},
		"the longest duration":            {head + `"duration":44640,"value":1}`, slot(0, 44640, 1)},
		"a timestamp with an offset":      {timestamp("2026-03-31T02:00:00+02:00"), slot(0, 5, 1)},
		"a timestamp with a fraction":     {timestamp("2026-03-31T00:00:00.0000000Z"), slot(0, 5, 1)},
		"a timestamp without seconds":     {timestamp("2026-03-31T00:00Z"), slot(0, 5, 1)},
		"a timestamp with a space":        {timestamp("2026-03-31 00:00:00Z"), slot(0, 5, 1)},
		"a timestamp without a zone":      {timestamp("2026-03-31T00:00:00.5"), Slot{at(0).Add(time.Second / 2), at(5).Add(time.Second / 2), 1}},
		"a timestamp with neither":        {timestamp("2026-03-31T00:00"), slot(0, 5, 1)},
		"a timestamp in lower case":       {timestamp("2026-03-31t00:00:00z"), slot(0, 5, 1)},
		"a timestamp as Go prints it":     {timestamp("2026-03-31 00:00:00 +0000 UTC"), slot(0, 5, 1)},
		"the timestamp beats its alias":   {head + `"time":"x","duration":5,"value":1}`, slot(0, 5, 1)},
		"the first year, by its own zone": {timestamp("1999-12-31T23:00:00-01:00"), Slot{time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2000, 1, 1, 0, 5, 0, 0, time.UTC), 1}},
	} {
		t.Run(name, func(t *testing.T) {
			document, err := Parse([]byte("[" + tt.json + "]"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]Slot{tt.want}, document.Series["L"].Slots()); diff != "" || document.Problem() != "" {
				t.Error(document.Problem(), diff)
			}
		})
	}
}

func TestABadElementCostsThatElement(t *testing.T) {
	const good = `{"timestamp":"2026-03-31T00:00Z","duration":5,"value":1}`
	element := func(timestamp, duration, value string) string {
		return fmt.Sprintf(`{"timestamp":%s,"duration":%s,"value":%s}`, timestamp, duration, value)
	}
	const when = `"2026-03-31T01:00Z"`
	const (
		wantObject   = `: want an object of location (a string), timestamp, duration, value`
		wantTime     = `: want RFC 3339 in the years 2000 to 2200`
		wantDuration = `: want minutes, above 0 and up to 44640`
		wantValue    = `: want gCO2eq/kWh, a number from -1000000 to 1000000`
	)
	for name, tt := range map[string]struct{ json, want string }{
		"a number":                   {`17`, `"17"` + wantObject},
		"an array":                   {`[]`, `"[]"` + wantObject},
		"null":                       {`null`, `timestamp: ""` + wantTime},
		"a location that is no text": {`{"location":7}`, `"{\"location\":7}"` + wantObject},
		"a location of a long name":  {`{"location":"` + strings.Repeat("x", 254) + `"}`, `location: "` + strings.Repeat("x", 40) + `": want at most 253 characters`},
		"no timestamp":               {`{"duration":5,"value":1}`, `timestamp: ""` + wantTime},
		"a timestamp that is none":   {element(`"noon"`, `5`, `1`), `timestamp: "noon"` + wantTime},
		"a timestamp in epoch":       {element(`1774915200`, `5`, `1`), `timestamp: "1774915200"` + wantTime},
		"a timestamp long ago":       {element(`"0001-01-01T00:00:00Z"`, `5`, `1`), `timestamp: "0001-01-01T00:00:00Z"` + wantTime},
		"a timestamp too far":        {element(`"2201-01-01T00:00:00Z"`, `5`, `1`), `timestamp: "2201-01-01T00:00:00Z"` + wantTime},
		"no duration":                {`{"timestamp":` + when + `}`, `duration: ""` + wantDuration},
		"a duration of null":         {element(when, `null`, `1`), `duration: ""` + wantDuration},
		"a duration of zero":         {element(when, `0`, `1`), `duration: "0"` + wantDuration},
		"a TimeSpan of zero":         {element(when, `"00:00:00"`, `1`), `duration: "00:00:00"` + wantDuration},
		"a negative duration":        {element(when, `-5`, `1`), `duration: "-5"` + wantDuration},
		"a negative ISO duration":    {element(when, `"PT-5M"`, `1`), `duration: "PT-5M"` + wantDuration},
		"a duration of next to zero": {element(when, `1e-300`, `1`), `duration: "1e-300"` + wantDuration},
		"a duration too long":        {element(when, `44641`, `1`), `duration: "44641"` + wantDuration},
		"a duration far too long":    {element(when, `1e300`, `1`), `duration: "1e300"` + wantDuration},
		"a Go duration too long":     {element(when, `"745h"`, `1`), `duration: "745h"` + wantDuration},
		"a duration that is none":    {element(when, `"x"`, `1`), `duration: "x"` + wantDuration},
		"a duration that is NaN":     {element(when, `"NaN"`, `1`), `duration: "NaN"` + wantDuration},
		"a duration that is true":    {element(when, `true`, `1`), `duration: "true"` + wantDuration},
		"a value of null":            {element(when, `5`, `null`), `value: "null"` + wantValue},
		"a value without a number":   {element(when, `5`, `"n/a"`), `value: "n/a"` + wantValue},
		"a value in another field":   {`{"timestamp":` + when + `,"duration":5,"carbonIntensity":269}`, `value: missing, and the field "carbonIntensity" is unknown: want value, in gCO2eq/kWh`},
		"a value that is none":       {element(when, `5`, `"low"`), `value: "low"` + wantValue},
		"a value of no text":         {element(when, `5`, `""`), `value: ""` + wantValue},
		"a value that is NaN":        {element(when, `5`, `"NaN"`), `value: "NaN"` + wantValue},
		"a value that is infinite":   {element(when, `5`, `"-Inf"`), `value: "-Inf"` + wantValue},
		"a value too large":          {element(when, `5`, `1000001`), `value: "1000001"` + wantValue},
		"a value that is an object":  {element(when, `5`, `{}`), `value: "{}"` + wantValue},
		"a long value is not repeated": {
			element(when, `5`, `"`+strings.Repeat("x", 99)+`"`), `value: "` + strings.Repeat("x", 40) + `"` + wantValue,
		},
	} {
		t.Run(name, func(t *testing.T) {
			document, err := Parse([]byte("[" + good + "," + tt.json + "]"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]Slot{slot(0, 5, 1)}, document.Series[""].Slots()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff("1 of 2 elements is bad: element 1: "+tt.want, document.Problem()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseManyElements(t *testing.T) {
	document, err := Parse([]byte("\ufeff" + ` [
		{"location":"B","timestamp":"2026-03-31T00:05Z","duration":5,"value":2},
		{"location":"A","timestamp":"2026-03-31T00:05Z","duration":5,"value":3},
		{"location":"B","timestamp":"2026-03-31T00:00Z","duration":60,"value":1}
	]`))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]Slot{}
	for location, s := range document.Series {
		got[location] = s.Slots()
	}
	want := map[string][]Slot{
		"A": {slot(5, 10, 3)},
		"B": {slot(0, 5, 1), slot(5, 10, 2), slot(10, 60, 1)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !document.Issued.IsZero() || document.Elements != 3 || document.BadElements != 0 || document.Problems != nil {
		t.Errorf("got issued %v, %d elements, %d bad: %q", document.Issued, document.Elements, document.BadElements, document.Problems)
	}
}

// The exporter leaves zeros out.
func TestAValueThatIsLeftOutIsZeroBesideOthers(t *testing.T) {
	document, err := Parse([]byte(`[{"timestamp":"2026-03-31T00:00Z","duration":5},{"timestamp":"2026-03-31T00:05Z","duration":5,"value":3}]`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Slot{slot(0, 5, 0), slot(5, 10, 3)}, document.Series[""].Slots()); diff != "" || document.BadElements != 0 {
		t.Error(document.Problem(), diff)
	}
}

func TestElementsWithoutALocationAreBadBesideThoseWithOne(t *testing.T) {
	const named, unnamed = `{"location":"A","timestamp":"2026-03-31T00:05Z","duration":5,"value":3}`, `{"timestamp":"2026-03-31T00:00Z","duration":5,"value":4}`
	for name, tt := range map[string]struct {
		json, problem string
		want          map[string][]Slot
	}{
		"after it":              {named + "," + unnamed, `1 of 2 elements is bad: element 1: location: "": want a name, since other elements have one`, map[string][]Slot{"A": {slot(5, 10, 3)}}},
		"before it":             {unnamed + "," + named, `1 of 2 elements is bad: element 0: location: "": want a name, since other elements have one`, map[string][]Slot{"A": {slot(5, 10, 3)}}},
		"not if none has one":   {unnamed, "", map[string][]Slot{"": {slot(0, 5, 4)}}},
		"nor if that is no use": {unnamed + `,{"location":"A"}`, `1 of 2 elements is bad: element 1: timestamp: "": want RFC 3339 in the years 2000 to 2200`, map[string][]Slot{"": {slot(0, 5, 4)}}},
	} {
		t.Run(name, func(t *testing.T) {
			document, err := Parse([]byte("[" + tt.json + "]"))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string][]Slot{}
			for location, s := range document.Series {
				got[location] = s.Slots()
			}
			if diff := cmp.Diff(tt.want, got) + cmp.Diff(tt.problem, document.Problem()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLocationsAreBounded(t *testing.T) {
	var elements []string
	for i := range 3 * 300 {
		elements = append(elements, fmt.Sprintf(`{"location":"%0253d","timestamp":"%s","duration":5,"value":1}`, i%300, at(5*(i/300)).Format(time.RFC3339)))
	}
	document, err := Parse([]byte("[" + strings.Join(elements, ",") + "]"))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(document.Series); n != 256 || document.BadElements != 3*(300-256) {
		t.Errorf("%d locations, and %d bad elements", n, document.BadElements)
	}
	for location, s := range document.Series {
		if len(s.Slots()) != 3 || location > fmt.Sprintf("%0253d", 255) {
			t.Fatalf("location %s has %d slots", location, len(s.Slots()))
		}
	}
	if want := `the first: element 256: location: "` + strings.Repeat("0", 40) + `": want at most 256 locations`; !strings.HasSuffix(document.Problem(), want) {
		t.Errorf("got %q, want %q", document.Problem(), want)
	}
}

func TestProblemsAreBounded(t *testing.T) {
	document, err := Parse([]byte(`[` + strings.Repeat(`1,`, 50) + `{"time":"2026-03-31T00:00Z","duration":5,"value":1}]`))
	if err != nil {
		t.Fatal(err)
	}
	if document.Elements != 51 || document.BadElements != 50 || len(document.Problems) != 10 {
		t.Errorf("got %d problems, %d of %d bad", len(document.Problems), document.BadElements, document.Elements)
	}
	if want := `50 of 51 elements are bad, the first: element 0: "1": want an object`; !strings.HasPrefix(document.Problem(), want) {
		t.Errorf("got %q, want %q", document.Problem(), want)
	}
}

func TestParseRefusesBrokenDocuments(t *testing.T) {
	for name, tt := range map[string]struct{ json, want string }{
		"nothing":           {"", "forecast is broken at byte 0: unexpected end of JSON input"},
		"truncated":         {`[{"timestamp":"2026`, "forecast is broken at byte 19: unexpected end of JSON input"},
		"garbled":           {`[{}, !]`, "forecast is broken at byte 6: invalid character '!' looking for beginning of value"},
		"more than one":     {`[{}] []`, "forecast is broken at byte 6: invalid character '[' after top-level value"},
		"garbled after BOM": {"\ufeff!", "forecast is broken at byte 4: invalid character '!' looking for beginning of value"},
		"null":              {`null`, `forecast is "null", want a JSON array`},
		"an object":         {`{"value": 1}`, `forecast is "{\"value\": 1}", want a JSON array`},
		"a string":          {`"x"`, `forecast is "\"x\"", want a JSON array`},
		"an empty array":    {`[]`, "forecast is an empty array, want at least one element"},
		"too large":         {strings.Repeat(" ", 4<<20+1), "forecast has 4194305 bytes, want at most 4194304"},
		"no value": {
			`[{"location":"DE","timestamp":"2026-11-25T12:00:00Z","duration":60},{"location":"DE","timestamp":"2026-11-25T13:00:00Z","duration":60}]`,
			`forecast has no value in any of its 2 elements: want value, in gCO2eq/kWh`,
		},
		"the value under another name": {
			`[{"location":"DE","timestamp":"2026-11-25T12:00:00Z","duration":60,"intensity":269},{"location":"DE","timestamp":"2026-11-25T13:00:00Z","duration":60,"intensity":270}]`,
			`forecast has no usable element: 2 of 2 elements are bad, the first: element 0: value: missing, and the field "intensity" is unknown: want value, in gCO2eq/kWh`,
		},
		"nothing usable": {
			`[{"timestamp":"x"},{}]`, `forecast has no usable element: 2 of 2 elements are bad, the first: ` +
				`element 0: timestamp: "x": want RFC 3339 in the years 2000 to 2200`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			document, err := Parse([]byte(tt.json))
			if diff := cmp.Diff(tt.want, fmt.Sprint(err)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(Document{}, document); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzParse checks that Parse never panics, and that what it accepts is sound: no series is empty;
// slots are ordered, do not overlap, and have finite intensities; and a mean lies between the
// lowest and the highest intensity.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`[{"location":"PJM_ROANOKE","timestamp":"2023-03-31T00:00:00Z","duration":5,"value":550.98}]`))
	f.Add([]byte(`[{"time":"2023-03-31 00:00","duration":"PT5M","rating":"-1"},{"timestamp":"2023-03-31T00:02Z","duration":"00:05:00"}]`))
	f.Add([]byte("\ufeff[null, 1, {\"timestamp\":\"2023-03-30 23:57:26.04 +0200 CEST m=+1\",\"duration\":0.1}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		document, err := Parse(data)
		if (err == nil) == (len(document.Series) == 0) {
			t.Fatalf("%d series and error %v", len(document.Series), err)
		}
		for _, s := range document.Series {
			checkSound(t, s)
		}
	})
}

func checkSound(t *testing.T, s *Series) {
	t.Helper()
	slots := s.Slots()
	if len(slots) == 0 {
		t.Fatal("empty series")
	}
	least, greatest, end := math.Inf(1), math.Inf(-1), time.Time{}
	for _, slot := range slots {
		if slot.Start.Before(end) || !slot.Start.Before(slot.End) || !(math.Abs(slot.Intensity) <= MaxIntensity) {
			t.Fatalf("slot %v after %v", slot, end)
		}
		least, greatest, end = min(least, slot.Intensity), max(greatest, slot.Intensity), slot.End
		mean, covered := s.Mean(s.Start(), end)
		epsilon := 1e-12 * max(greatest, -least)
		if covered <= 0 || mean < least-epsilon || mean > greatest+epsilon {
			t.Fatalf("mean %v over %v of intensities from %v to %v", mean, covered, least, greatest)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	data := document(b, 288)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}

// document returns what the exporter writes: n slots of five minutes.
func document(tb testing.TB, n int) []byte {
	tb.Helper()
	type dto struct {
		Location  string    `json:"location,omitempty"`
		Timestamp time.Time `json:"timestamp,omitempty"`
		Duration  int32     `json:"duration,omitempty"`
		Value     float64   `json:"value,omitempty"`
	}
	var elements []dto
	for i := range n {
		elements = append(elements, dto{"PJM_ROANOKE", at(5 * i), 5, 550.9853294805798 + float64(i)})
	}
	var out bytes.Buffer
	if err := json.NewEncoder(&out).Encode(elements); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}
