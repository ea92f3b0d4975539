package forecast

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// zipped returns what gzip makes of a text.
func zipped(tb testing.TB, text string) []byte {
	tb.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		tb.Fatal(err)
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestAHostileConfigMapIsRefused(t *testing.T) {
	run := func(values string) string {
		return `[{"location":"A","start":"2026-03-31T00:00:00Z","minutes":60,"values":[` + values + `]}]`
	}
	details := func(fields string) string { return `{"A":{` + fields + `}}` }
	for name, tt := range map[string]struct {
		actuals []byte
		details string
		want    string
	}{
		"data that is not compressed":     {[]byte(run("300")), details(""), `key "actuals": want data that gzip has compressed`},
		"data that is cut off":            {zipped(t, run("300"))[:30], details(""), `key "actuals": the compressed data is damaged`},
		"no runs":                         {zipped(t, `{}`), details(""), `key "actuals": want an array of runs`},
		"a bomb":                          {zipped(t, "["+strings.Repeat(" ", maxActualsSize)+"]"), details(""), `key "actuals": want at most 4194304 bytes after decompression`},
		"too many slots":                  {zipped(t, run(strings.Repeat("1,", maxActuals)+"1")), details(""), `key "actuals": run 0: want at most 344064 slots in all`},
		"slots of no length":              {zipped(t, strings.Replace(run("300"), "60", "0", 1)), details(""), `key "actuals": run 0: minutes: 0`},
		"slots that run backwards":        {zipped(t, strings.Replace(run("300"), "60", "-5", 1)), details(""), `key "actuals": run 0: minutes: -5`},
		"a century that nobody remembers": {zipped(t, strings.Replace(run("300"), "2026", "1826", 1)), details(""), `key "actuals": run 0: start: want the years 2000 to 2200`},
		"a long name of a location":       {zipped(t, strings.Replace(run("300"), `"A"`, `"`+strings.Repeat("A", 254)+`"`, 1)), details(""), `key "actuals": run 0: location: "AAAA`},
		"details that are no object":      {nil, `[]`, `key "locations": `},
		"details of too many locations":   {nil, manyDetails(257), `key "locations": 257 locations: want at most 256`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := FromConfigMap(map[string][]byte{"data": document(t, 3), "actuals": tt.actuals}, map[string]string{"locations": tt.details}, "data", t0)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %.200v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestALocationThatBreaksTheRulesIsLeftOut(t *testing.T) {
	long := strings.Repeat("本", 254)
	for name, tt := range map[string]struct{ location, details, want string }{
		"a long name":               {long, `{}`, "want a name of at most 253 characters"},
		"a kind that nobody knows":  {"A", `{"origin":{"signal":{"kind":"Green"}}}`, `origin: kind: "Green": want Average or Marginal`},
		"factors that nobody knows": {"A", `{"origin":{"signal":{"emissionFactors":"None"}}}`, `origin: emissionFactors: "None": want LifeCycle or Direct`},
		"a long provider":           {"A", `{"origin":{"provider":"` + long + `"}}`, "origin: want a provider and a zone of at most 253 characters each"},
		"a long zone":               {"A", `{"origin":{"zone":"` + long + `"}}`, "origin: want a provider and a zone of at most 253 characters each"},
	} {
		t.Run(name, func(t *testing.T) {
			array := strings.ReplaceAll(`[{"location":"A","timestamp":"2026-03-31T00:00:00Z","duration":60,"value":1},{"location":"B","timestamp":"2026-03-31T00:00:00Z","duration":60,"value":2}]`, `"A"`, `"`+tt.location+`"`)
			d, err := FromConfigMap(map[string][]byte{"data": []byte(array)}, map[string]string{"message": "slow", "locations": `{"` + tt.location + `":` + tt.details + `,"B":{}}`}, "data", t0)
			if err != nil {
				t.Fatal(err)
			}
			if got := d.locations(); len(got) != 1 || got[0] != "B" {
				t.Errorf("got the locations %q, want B", got)
			}
			if want := fmt.Sprintf("location %.40q is left out: %s; slow", tt.location, tt.want); d.Message != want {
				t.Errorf("got %q\nwant %q", d.Message, want)
			}
		})
	}
}

func TestALongSentenceIsCut(t *testing.T) {
	long := strings.Repeat("本", 1000)
	d, err := FromConfigMap(map[string][]byte{"data": document(t, 3)}, map[string]string{"message": long, "locations": `{"":{"attribution":"` + long + `","problem":"` + long + `"}}`}, "data", t0)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("本", 340) + "…" // three bytes each, and at most 1024
	if diff := cmp.Diff([]string{want, want, want}, []string{d.Message, d.Details[""].Attribution, d.Details[""].Problem}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzWrittenConfigMap writes documents with any text and reads them back.
func FuzzWrittenConfigMap(f *testing.F) {
	f.Add("A", "Energy-Charts", "de", "Average", "LifeCycle", "CC BY 4.0", "429", "slow", 2)
	f.Add(strings.Repeat("本", 253), "P", strings.Repeat("区", 253), "", "", strings.Repeat("a", 1025), strings.Repeat("é", 513), strings.Repeat("本", 342), maxLocations)
	f.Add("A", strings.Repeat("x", 254), "\xff\xfe", "Green", "None", "\xff", strings.Repeat("\xff", 342), "\x00", 1)
	f.Fuzz(func(t *testing.T, location, provider, zone, kind, factors, attribution, problem, message string, count int) {
		d := Document{Series: map[string]*Series{}, Actuals: map[string]*Series{}, Details: map[string]Details{}, Message: message}
		for i := range max(0, min(count, maxLocations)) {
			name := location
			if i > 0 {
				name = fmt.Sprint(location, i)
			}
			d.Series[name], d.Actuals[name] = series(0, 300), even(t0.Add(-48*time.Hour), time.Hour, 300)
			d.Details[name] = Details{
				Origin: Origin{Provider: provider, Zone: zone, Signal: Signal{Kind: Kind(kind), EmissionFactors: EmissionFactors(factors)}}, Attribution: attribution, Problem: problem,
			}
		}
		d.Series["usual"], d.Details["usual"] = series(0, 300), Details{}
		binaryData, data, err := d.ConfigMap(t0)
		if err != nil {
			t.Fatal(err)
		}
		if read, err := FromConfigMap(binaryData, data, "data", t0); err != nil || len(read.Series) == 0 || len(read.Series) > maxLocations {
			t.Errorf("%d forecasts, %.200v", len(read.Series), err)
		}
	})
}

func manyDetails(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"%d":{}`, i))
	}
	return "{" + strings.Join(all, ",") + "}"
}

func TestADocumentThatHasNothingSaysSo(t *testing.T) {
	_, err := FromConfigMap(nil, map[string]string{"locations": "{}"}, "data", t0)
	if err == nil || err.Error() != "there is neither a forecast nor an actual intensity yet" {
		t.Errorf("got %v", err)
	}
}

func TestDamagedActualIntensitiesTakeBoundedMemory(t *testing.T) {
	for _, worst := range [][]byte{
		zipped(t, `[{"start":"2026-03-31T00:00:00Z","minutes":5,"values":[`+strings.Repeat("1,", maxActualsSize/2-40)+`1]}]`),
		zipped(t, "[{}"+strings.Repeat(",{}", maxActualsSize/3-10)+"]"),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := FromConfigMap(map[string][]byte{"actuals": worst}, map[string]string{"locations": "{}"}, "data", t0)
		runtime.ReadMemStats(&after)
		if taken := after.TotalAlloc - before.TotalAlloc; err == nil || taken > 200<<20 {
			t.Errorf("%d KiB of a ConfigMap take %d MiB (%v)", len(worst)>>10, taken>>20, err)
		}
	}
}

// FuzzConfigMap offers whatever a ConfigMap says to a store.
func FuzzConfigMap(f *testing.F) {
	good := Document{
		Series:  map[string]*Series{"A": series(0, 300, 310)},
		Actuals: map[string]*Series{"A": even(t0.Add(-48*time.Hour), time.Hour, 300, 310, 320, 0, 330)},
		Details: map[string]Details{"A": {Origin: Origin{Provider: "P", Zone: "DE", Signal: Signal{Kind: Marginal}}, Issued: t0}},
	}
	binaryData, data, err := good.ConfigMap(t0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(binaryData["data"]), `[{"location":"A","start":"2026-03-29T00:00:00Z","minutes":60,"values":[300,null,0,310]}]`, data["locations"], "")
	f.Add("", `[{"start":"2200-12-31T00:00:00Z","minutes":44640,"values":[1,2]},{"minutes":1e-9,"start":"2026-03-31T00:00:00Z","values":[-1]}]`, `{"":{"lacksForecast":true}}`, "no forecast")
	f.Add(`[]`, `[{"location":"A","start":"2026-03-30T23:00:00.5Z","minutes":7.3,"values":[1e6,-1e6,1e300]}]`, `{"A":{"issued":"9999-12-31T23:59:59Z"},"B":{"problem":"?"}}`, "")
	f.Fuzz(func(t *testing.T, array, actuals, details, message string) {
		binaryData := map[string][]byte{"actuals": zipped(t, actuals)}
		if array != "" {
			binaryData["data"] = []byte(array)
		}
		document, err := FromConfigMap(binaryData, map[string]string{"locations": details, "message": message}, "data", t0)
		if err != nil {
			return
		}
		var store Store
		for i := range 2 {
			now := t0.Add(time.Duration(i) * time.Hour)
			_ = store.Offer(Source{}, document, now) // a refusal is fine
			for _, location := range store.Snapshot(Source{}).Locations() {
				forecast, ok := store.Snapshot(Source{}).Forecast(location)
				if !ok {
					continue
				}
				if until := forecast.ActualUntil(); until.After(now.Add(maxClockSkew)) {
					t.Errorf("at %v, location %q is known until %v", now, location, until)
				}
				for _, s := range forecast.Model.Predict(now, trust).Series.Slots() {
					if !(s.Intensity >= -MaxIntensity && s.Intensity <= MaxIntensity) || !s.Start.Before(s.End) {
						t.Errorf("at %v, location %q is expected to be %v", now, location, s)
					}
				}
			}
		}
	})
}
