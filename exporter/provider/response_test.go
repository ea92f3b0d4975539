package provider

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBodiesThatDoNotArrive(t *testing.T) {
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    string
		asked   int
	}{
		"a body that is cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, electricityMapsForecast[:100])
		}, "the response is cut off after 100 bytes", 4},
		"a body that comes too slowly": {func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, electricityMapsForecast[:100])
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, "the response is cut off after 100 bytes: context deadline exceeded", 4},
		"a connection that breaks": {func(w http.ResponseWriter, _ *http.Request) {
			connection, _, _ := http.NewResponseController(w).Hijack()
			_ = connection.Close()
		}, "EOF", 4},
		"a chunk that is cut off": {func(w http.ResponseWriter, _ *http.Request) {
			connection, stream, _ := http.NewResponseController(w).Hijack()
			fmt.Fprintf(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n%s\r\n64\r\n%s", electricityMapsForecast[:100], "{")
			_, _ = stream.Flush(), connection.Close()
		}, "the response is cut off after 101 bytes", 4},
		"a small body that unpacks to a large one": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			packed := gzip.NewWriter(w)
			for range maxResponseSize/1000 + 2 {
				fmt.Fprint(packed, strings.Repeat(" ", 1000))
			}
			_ = packed.Close()
		}, "the response has more than 4194304 bytes", 1},
		"a body without end": {func(w http.ResponseWriter, _ *http.Request) {
			for range maxResponseSize/1000 + 2 {
				fmt.Fprint(w, strings.Repeat(" ", 1000))
			}
		}, "the response has more than 4194304 bytes", 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, test.handler)
			p := makeProvider(t, TypeElectricityMaps, s, newClock(), func(c *Config) {
				if strings.Contains(test.want, "deadline") { // the others do not wait for it
					c.Options.Timeout = time.Second
				}
			})
			_, err := p.Forecast(t.Context(), "DE")
			if err == nil || !strings.Contains(err.Error(), test.want) || len(s.asked()) != test.asked {
				t.Errorf("asked %d times, got %v", len(s.asked()), err)
			}
		})
	}
}

func TestAnUnchangedResponseIsNotSentAgain(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("X-RateLimit-Remaining", "17")
		if r.Header.Get("If-None-Match") == `"v1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, electricityMapsForecast)
	})
	var attempts []Attempt
	p := makeProvider(t, TypeElectricityMaps, s, newClock(), func(c *Config) {
		c.Options.Observe = func(a Attempt) { attempts = append(attempts, a) }
	})
	first, err1 := p.Forecast(t.Context(), "DE")
	second, err2 := p.Forecast(t.Context(), "DE")
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if diff := cmp.Diff(first.Series.Slots(), second.Series.Slots()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Attempt{{OutcomeOK, 17}, {OutcomeNotModified, 17}}, attempts); diff != "" {
		t.Error(diff)
	}
}

func TestTheCacheForgetsTheOldestResponses(t *testing.T) {
	var c responseCache
	header := http.Header{"Last-Modified": {"Thu, 26 Nov 2026 11:00:00 GMT"}}
	for i := range 10 {
		c.keep(fmt.Sprint(i), header, make([]byte, maxCachedSize/5))
	}
	if c.size > maxCachedSize || len(c.entries) != 4 || len(c.order) != 4 {
		t.Errorf("%d bytes in %d entries", c.size, len(c.entries))
	}
	asked := http.Header{}
	if c.prepare("9", asked) == nil || asked.Get("If-Modified-Since") == "" || c.prepare("0", http.Header{}) != nil {
		t.Error("want the newest")
	}
}

func TestTheCacheCountsWhatSmallResponsesTake(t *testing.T) {
	var c responseCache
	for i := range 40_000 {
		c.keep(fmt.Sprint(i), http.Header{"Etag": {"x"}}, nil)
	}
	if len(c.entries) > maxCachedSize/cachedOverhead {
		t.Errorf("%d entries", len(c.entries))
	}
}

// TestABodyThatMayBeCutOffIsNotKept has a response of HTTP/1.0 without a length: if the connection
// breaks, the body ends early, and nobody can tell.
func TestABodyThatMayBeCutOffIsNotKept(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		connection, stream, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprintf(stream, "HTTP/1.0 200 OK\r\nETag: \"v1\"\r\n\r\n%s", electricityMapsForecast)
		_, _ = stream.Flush(), connection.Close()
	})
	p := makeProvider(t, TypeElectricityMaps, s, newClock())
	for range 2 {
		if _, err := p.Forecast(t.Context(), "DE"); err != nil {
			t.Error(err)
		}
	}
	if asked := s.asked(); len(asked) != 2 || asked[1].Header.Get("If-None-Match") != "" {
		t.Errorf("asked %d times, the last time with %v", len(asked), asked[len(asked)-1].Header)
	}
}

func TestManySmallElementsAreNotRead(t *testing.T) {
	many := "[" + strings.Repeat("1,", maxElements) + "1]"
	for name, parse := range map[string]func() (tally, error){
		"Electricity Maps": func() (tally, error) { return parseElectricityMaps([]byte(`{"data":`+many+`}`), "", "") },
		"WattTime": func() (tally, error) {
			return parseWattTime([]byte(`{"meta":{"units":"lbs_co2_per_mwh"},"data":`+many+`}`), "", "")
		},
		"national":           func() (tally, error) { return parseUKCarbonIntensity([]byte(`{"data":`+many+`}`), thePast) },
		"regional":           func() (tally, error) { return parseUKCarbonIntensity([]byte(`{"data":{"data":`+many+`}}`), thePast) },
		"Energy-Charts":      func() (tally, error) { return parseEnergyCharts([]byte(`{"unix_seconds":`+many+`}`), thePast) },
		"GridCarbon":         func() (tally, error) { return parseGridCarbon([]byte(`{"unit":"gCO2eq/kWh","data":`+many+`}`), "", "") },
		"the exporter":       func() (tally, error) { return parseExporter([]byte(many), "") },
		"a Carbon Aware SDK": func() (tally, error) { return parseCarbonAwareForecast([]byte(many), "") },
		"any array":          func() (tally, error) { return parseAny([]byte(many), "", thePast) },
		"CSV": func() (tally, error) {
			return parseAny([]byte("timestamp,intensity\n"+strings.Repeat("1,1\n", maxElements+1)), "", thePast)
		},
	} {
		if _, err := parse(); !errors.Is(err, ErrUnreadable) || !strings.Contains(err.Error(), "more than 110000") {
			t.Errorf("%s: %.200v", name, err)
		}
	}
}

// TestALargeResponseIsDecodedOnce bounds the garbage that a response of one's own server makes. To
// decode the elements once more would make more.
func TestALargeResponseIsDecodedOnce(t *testing.T) {
	var body bytes.Buffer
	body.WriteString("[")
	for i := 0; body.Len() < maxResponseSize-100; i++ {
		fmt.Fprintf(&body, `{"timestamp":"%s","duration":1,"value":1},`, noon.Add(time.Duration(i)*time.Minute).Format(time.RFC3339))
	}
	body.WriteString(`{}]`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := parseAny(body.Bytes(), "DE", thePast); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	const most = 128 << 20
	if took := after.TotalAlloc - before.TotalAlloc; took > most || body.Len() > 4<<20 {
		t.Errorf("%d bytes take %d bytes of memory in all, want at most %d", body.Len(), took, most)
	}
}
