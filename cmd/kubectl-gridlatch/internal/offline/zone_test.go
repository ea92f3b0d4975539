package offline

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/answer"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/fetch"
	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// A zoneProvider knows a grid whose cleanest hour is noon. Its actual intensities come late, and its
// forecast is too high by half.
type zoneProvider struct {
	late         time.Duration
	noForecast   error
	noPast       error
	forecastFrom time.Time
}

func trueIntensity(at time.Time) float64 {
	return math.Round(300 + 150*math.Cos(float64(at.Hour())/24*2*math.Pi))
}

func hours(from, to time.Time, factor float64) *forecast.Series {
	var slots []forecast.Slot
	for at := from.Truncate(time.Hour); at.Before(to); at = at.Add(time.Hour) {
		slots = append(slots, forecast.Slot{Start: at, End: at.Add(time.Hour), Intensity: factor * trueIntensity(at)})
	}
	return forecast.NewSeries(slots)
}

func (zoneProvider) Describe() provider.Description { return provider.Description{Source: "Fake"} }

func (p zoneProvider) Forecast(context.Context, string) (provider.Reading, error) {
	return provider.Reading{Zone: "X", Series: hours(p.forecastFrom, p.forecastFrom.Add(48*time.Hour), 1.5), Issued: now}, p.noForecast
}

func (p zoneProvider) Past(_ context.Context, _ string, from, to time.Time) (provider.Reading, error) {
	if end := now.Add(-p.late).Truncate(time.Hour); end.Before(to) { // else what is known of this hour, too
		to = end
	}
	return provider.Reading{Series: hours(from, to, 1)}, p.noPast
}

func TestThePastCorrectsTheForecastOfAProvider(t *testing.T) {
	broken := errors.New("the server is away")
	for name, tt := range map[string]struct {
		provider zoneProvider
		basis    forecast.Basis
		atNoon   float64 // what is expected of noon: 150 as it will be, 225 as it was forecast, 162 corrected
		warns    string
	}{
		"a forecast and a past":                     {zoneProvider{forecastFrom: now, late: -time.Hour}, forecast.BasisForecast, 162, ""},
		"a past that ends hours ago":                {zoneProvider{forecastFrom: now, late: 4 * time.Hour}, forecast.BasisForecast, 225, "are not known"},
		"a forecast that begins before the past":    {zoneProvider{forecastFrom: now.Add(-24 * time.Hour), late: -time.Hour}, forecast.BasisForecast, 162, ""},
		"a past that ended days ago":                {zoneProvider{forecastFrom: now, late: 50 * time.Hour}, forecast.BasisForecast, 225, "2d2h of 55d23h are not known"},
		"a forecast, and no past":                   {zoneProvider{forecastFrom: now, noPast: broken}, forecast.BasisForecast, 225, "there is no past, and the forecast is not corrected: the server is away"},
		"a past, and no forecast":                   {zoneProvider{noForecast: provider.ErrUnavailable}, forecast.BasisHistory, 150, "there is no forecast, and the plan is by the past alone: "},
		"a past, and a forecast of another's plan":  {zoneProvider{noForecast: provider.ErrNotInPlan}, forecast.BasisHistory, 150, "not in this plan"},
		"a past that ended days ago, and no future": {zoneProvider{noForecast: provider.ErrNoData, late: 5 * 24 * time.Hour}, forecast.BasisNothing, math.NaN(), "5d of 55d23h are not known"},
	} {
		t.Run(name, func(t *testing.T) {
			zone := fetch.Zone{Provider: tt.provider, Name: "X"}
			answered, err := PlanZone(t.Context(), zone, answer.Question{Now: now, Duration: 2 * time.Hour}, plan.Terms{}, func(fetch.Progress) {})
			if err != nil {
				t.Fatal(err)
			}
			if got := answered.Decision.Basis; got != tt.basis && tt.basis != forecast.BasisNothing {
				t.Errorf("by %s, want by %s", got, tt.basis)
			}
			noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
			got, covered := answered.Expected.Mean(noon, noon.Add(time.Hour))
			if covered == 0 {
				got = math.NaN()
			}
			if math.IsNaN(got) != math.IsNaN(tt.atNoon) || math.Abs(got-tt.atNoon) > 20 {
				t.Errorf("expects %.0f at noon, want about %.0f", got, tt.atNoon)
			}
			if warnings := strings.Join(answered.Warnings, "\n"); !strings.Contains(warnings, tt.warns) || tt.warns == "" && warnings != "" {
				t.Errorf("warnings %q, want %q", warnings, tt.warns)
			}
			start := answered.Decision.Start.Hour() // the two hours from 11 on are as clean as those from 12 on
			if holds := answered.Decision.Holds(); holds != (tt.basis != forecast.BasisNothing) || holds && start != 11 && start != 12 {
				t.Errorf("%+v", answered.Decision)
			}
		})
	}
}

func TestAPlanNeedsAForecastOrAPast(t *testing.T) {
	broken := errors.New("the server is away")
	for name, p := range map[string]zoneProvider{
		"the forecast may come later": {noForecast: broken},
		"there is neither":            {noForecast: provider.ErrUnavailable, noPast: broken},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := PlanZone(t.Context(), fetch.Zone{Provider: p, Name: "X"}, answer.Question{Now: now}, plan.Terms{}, func(fetch.Progress) {})
			if !errors.Is(err, broken) {
				t.Errorf("%v, want %v", err, broken)
			}
		})
	}
}
