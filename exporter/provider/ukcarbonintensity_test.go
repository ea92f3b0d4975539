package provider

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/forecast"
)

const ukNational = `{"data":[
 {"from":"2026-11-26T11:30Z","to":"2026-11-26T12:00Z","intensity":{"forecast":190,"actual":187,"index":"moderate"}},
 {"from":"2026-11-26T12:00Z","to":"2026-11-26T12:30Z","intensity":{"forecast":180,"actual":null,"index":"moderate"}},
 {"from":"2026-11-26T12:30Z","to":"2026-11-26T13:00Z","intensity":{"forecast":170,"actual":null,"index":"low"}}]}`

const ukRegional = `{"data":{"regionid":13,"dnoregion":"UKPN London","shortname":"London","data":[
 {"from":"2026-11-26T11:30Z","to":"2026-11-26T12:00Z","intensity":{"forecast":120,"index":"low"},"generationmix":[{"fuel":"gas","perc":40.1}]},
 {"from":"2026-11-26T12:00Z","to":"2026-11-26T12:30Z","intensity":{"forecast":110,"index":"low"},"generationmix":[]}]}}`

func TestUKForecast(t *testing.T) {
	for name, test := range map[string]struct {
		zone, body, path string
		want             []forecast.Slot
	}{
		"the country": {"GB", ukNational, "/intensity/2026-11-26T12:00Z/fw48h", []forecast.Slot{
			slot(at(11, 30), ukSlot, 190), slot(at(12, 0), ukSlot, 180), slot(at(12, 30), ukSlot, 170),
		}},
		"a region": {"13", ukRegional, "/regional/intensity/2026-11-26T12:00Z/fw48h/regionid/13", []forecast.Slot{
			slot(at(11, 30), ukSlot, 120), slot(at(12, 0), ukSlot, 110),
		}},
		"a region in a list": {"13", `{"data":[` + strings.TrimSuffix(strings.TrimPrefix(ukRegional, `{"data":`), "}") + `]}`, "/regional/intensity/2026-11-26T12:00Z/fw48h/regionid/13", []forecast.Slot{
			slot(at(11, 30), ukSlot, 120), slot(at(12, 0), ukSlot, 110),
		}},
		"a postcode": {"RG10", ukRegional, "/regional/intensity/2026-11-26T12:00Z/fw48h/postcode/RG10", []forecast.Slot{
			slot(at(11, 30), ukSlot, 120), slot(at(12, 0), ukSlot, 110),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := answers(t, test.body)
			got, err := makeProvider(t, TypeUKCarbonIntensity, s, newClock()).Forecast(t.Context(), test.zone)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got.Series.Slots()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{test.path}, s.paths()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUKPast(t *testing.T) {
	for zone, want := range map[string]Reading{
		"GB": {Series: forecast.NewSeries([]forecast.Slot{slot(at(11, 30), ukSlot, 187)}), Elements: 3, Unknown: 2},
		"13": {Series: forecast.NewSeries([]forecast.Slot{slot(at(11, 30), ukSlot, 120)}), Elements: 2, Estimated: 2},
	} {
		t.Run(zone, func(t *testing.T) {
			body := ukNational
			if zone == "13" {
				body = ukRegional
			}
			s := answers(t, body)
			got, err := makeProvider(t, TypeUKCarbonIntensity, s, newClock()).Past(t.Context(), zone, at(10, 0), noon)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.Series.Slots(), got.Series.Slots()); diff != "" {
				t.Error(diff)
			}
			if got.Elements != want.Elements || got.Unknown != want.Unknown || got.Estimated != want.Estimated {
				t.Errorf("got %+v", got)
			}
			if !strings.Contains(s.paths()[0], "/intensity/2026-11-24T12:00Z/2026-11-26T12:00Z") {
				t.Error(s.paths())
			}
		})
	}
}

func TestUKPastIsIncompleteIfAnOldPageIsRefused(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/2026-11-26T12:00Z") {
			http.Error(w, `{"error":{"code":"400 Bad Request","message":"too old"}}`, http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, ukNational)
	})
	got, err := makeProvider(t, TypeUKCarbonIntensity, s, newClock()).Past(t.Context(), "GB", noon.Add(-56*24*time.Hour), noon)
	var status *StatusError
	if err != nil || !errors.As(got.Incomplete, &status) || len(got.Series.Slots()) != 1 || len(s.asked()) != 2 {
		t.Errorf("%v, incomplete: %v, asked: %v", err, got.Incomplete, s.paths())
	}
}

func TestUKZonesThatAreNone(t *testing.T) {
	s := answers(t, ukNational)
	for _, zone := range []string{"", "FR", "0", "18", "../x", "rg10", "AB12C"} {
		if _, err := makeProvider(t, TypeUKCarbonIntensity, s, newClock()).Forecast(t.Context(), zone); !errors.Is(err, ErrUnknownZone) {
			t.Errorf("%q: %v", zone, err)
		}
	}
	if len(s.asked()) > 0 {
		t.Error(s.paths())
	}
}

func TestUKErrors(t *testing.T) {
	for name, body := range map[string]string{
		"no data": `{}`, "data is null": `{"data":null}`, "data is text": `{"data":"x"}`, "a region without data": `{"data":{"regionid":1}}`,
		"an error in place of data": `{"error":{"code":"500","message":"x"}}`,
	} {
		if _, err := parseUKCarbonIntensity([]byte(body), theForecast); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := parseUKCarbonIntensity([]byte(`{"data":[{"from":"2026-11-26T12:00Z","to":"2026-11-26T11:00Z","intensity":{"forecast":1}},{"from":"x"},{"from":"2026-11-26T12:00Z","to":"y"},7]}`), theForecast)
	if err != nil || got.bad != 4 || len(got.slots) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}
