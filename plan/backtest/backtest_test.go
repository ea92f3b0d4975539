package backtest_test

import (
	"encoding/csv"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

const hour = time.Hour

func at(hours float64) time.Time {
	return time.Date(2021, 7, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(hours * float64(hour)))
}

// actual makes hourly actual intensities from at(0) on.
func actual(values ...float64) backtest.Actuals {
	return backtest.Actuals{Series: hourly(0, values...), SlotWidth: hour}
}

func hourly(from int, values ...float64) *forecast.Series {
	var slots []forecast.Slot
	for i, value := range values {
		slots = append(slots, forecast.Slot{Start: at(float64(from + i)), End: at(float64(from + i + 1)), Intensity: value})
	}
	return forecast.NewSeries(slots)
}

// A believer predicts what the newest forecast says.
type believer struct{ newest *forecast.Series }

func (b *believer) Receive(series *forecast.Series, _ time.Time) forecast.Verdict {
	b.newest = series
	return forecast.Verdict{Believed: series}
}
func (b *believer) Observe(forecast.Slot)                   {}
func (b *believer) HearWeather(forecast.Weather, time.Time) {}
func (b *believer) Predict(time.Time, time.Duration) forecast.Prediction {
	return forecast.Prediction{Series: b.newest, Basis: forecast.BasisForecast}
}

func job(arrival, duration, slack float64) backtest.Job {
	return backtest.Job{Arrival: at(arrival), Duration: at(duration).Sub(at(0)), Slack: at(slack).Sub(at(0)), Weight: 1}
}

// hoursOf turns starts into hours after at(0).
func hoursOf(starts []time.Time) []float64 {
	hours := []float64{}
	for _, start := range starts {
		hours = append(hours, start.Sub(at(0)).Hours())
	}
	return hours
}

func TestStarts(t *testing.T) {
	valley := actual(300, 200, 100, 400, 400, 50, 300, 300, 300, 300)
	right := []backtest.Document{{Issued: at(0), Series: valley.Series}}
	tests := map[string]struct {
		actuals   backtest.Actuals
		documents []backtest.Document
		jobs      []backtest.Job
		terms     plan.Terms
		ceiling   string
		delay     time.Duration
		policy    string
		want      []float64
		forced    int
	}{
		"immediate starts on arrival": {
			actuals: valley, jobs: []backtest.Job{job(0, 1, 5), job(1.5, 2, 3)}, policy: "immediate", want: []float64{0, 1.5},
		},
		"the oracle starts in the cleanest window": {
			actuals: valley, jobs: []backtest.Job{job(0, 1, 3), job(0, 1, 6), job(0, 2, 6)}, policy: "oracle", want: []float64{2, 5, 1},
		},
		"the oracle starts where the end of a run leaves a dirty slot": {
			actuals: actual(100, 100, 400, 400), jobs: []backtest.Job{job(0, 1.5, 2)}, policy: "oracle", want: []float64{0},
		},
		"the oracle takes the earliest of equals": {
			actuals: actual(200, 100, 100, 100), jobs: []backtest.Job{job(0, 1, 3)}, policy: "oracle", want: []float64{1},
		},
		"gridlatch starts in the cleanest window that is predicted": {
			actuals: valley, documents: right, jobs: []backtest.Job{job(0, 1, 3), job(0, 1, 6), job(0, 2, 3)}, policy: "gridlatch", want: []float64{2, 5, 1},
		},
		"gridlatch follows a forecast that is wrong": {
			actuals: valley, documents: []backtest.Document{{Issued: at(0), Series: hourly(0, 300, 200, 300, 100, 300, 300, 300)}},
			jobs: []backtest.Job{job(0, 1, 5)}, policy: "gridlatch", want: []float64{3},
		},
		"gridlatch plans anew by a newer forecast": {
			actuals: valley, documents: []backtest.Document{
				{Issued: at(0), Series: hourly(0, 300, 200, 300, 100, 300, 300, 300)},
				{Issued: at(2), Series: hourly(2, 300, 300, 100, 300, 300, 300)},
			},
			jobs: []backtest.Job{job(0, 1, 5)}, policy: "gridlatch", want: []float64{4},
		},
		"gridlatch does not know a forecast that comes late": {
			actuals: valley, documents: []backtest.Document{
				{Issued: at(-4), Series: hourly(-4, 1, 1, 1, 1, 300, 200, 300, 100, 300, 300, 300)},
				{Issued: at(2), Series: hourly(2, 300, 300, 100, 300, 300, 300)},
			},
			delay: 2 * hour, jobs: []backtest.Job{job(0, 1, 5)}, policy: "gridlatch", want: []float64{3},
		},
		"gridlatch starts between slots if that is best": {
			actuals: actual(400, 100, 100, 400, 400, 400), documents: []backtest.Document{{Issued: at(0), Series: hourly(0, 400, 100, 100, 500, 400, 400)}},
			jobs: []backtest.Job{job(0, 2.5, 2)}, policy: "gridlatch", want: []float64{0.5},
		},
		"gridlatch asks once, when a job arrives, whether a wait gains enough": {
			actuals: valley, documents: []backtest.Document{
				{Issued: at(0), Series: hourly(0, 100, 99, 98, 97, 96, 95, 94)},
				{Issued: at(2), Series: hourly(2, 98, 97.5, 97, 97, 97)},
			},
			terms: plan.Terms{MinGain: 0.03},
			jobs:  []backtest.Job{job(0, 1, 2), job(0, 1, 5)}, policy: "gridlatch", want: []float64{0, 4}, // when now is as good as the plan
		},
		"a threshold starts at or below it, or at the latest start": {
			actuals: valley, jobs: []backtest.Job{job(0, 1, 4), job(3, 1, 1.5)}, policy: "threshold=200", want: []float64{1, 4.5},
		},
		"a percentile is that of the time that remains": {
			actuals: valley, documents: right, jobs: []backtest.Job{job(0, 1, 3), job(3, 1, 6)}, policy: "percentile=50", want: []float64{1, 5},
		},
		"the lowest slot does not care how long a job runs": {
			actuals: valley, documents: right, jobs: []backtest.Job{job(0, 3, 6)}, policy: "lowest-slot", want: []float64{5},
		},
		"foresight needs no forecast": {
			actuals: valley, jobs: []backtest.Job{job(0, 1, 6)}, policy: "foresight", want: []float64{5},
		},
		"without anything to go by gridlatch starts at once": {
			actuals: valley, jobs: []backtest.Job{job(0, 1, 6)}, policy: "gridlatch", want: []float64{0},
		},
		"below a ceiling greedy waits for its turn, the most urgent first": {
			actuals: valley, documents: right, ceiling: "1",
			jobs: []backtest.Job{job(0, 1, 4), job(0, 1, 3)}, policy: "greedy", want: []float64{3, 2},
		},
		"below a ceiling gridlatch plans ahead, the most urgent first": {
			actuals: valley, documents: right, ceiling: "1",
			jobs: []backtest.Job{job(0, 1, 4), job(0, 1, 3)}, policy: "gridlatch", want: []float64{1, 2},
		},
		"what cannot wait starts above the ceiling": {
			actuals: valley, documents: right, ceiling: "1",
			jobs: []backtest.Job{job(0, 2, 0), job(1, 1, 0)}, policy: "greedy", want: []float64{0, 1}, forced: 1,
		},
		"room that is given back between slots is used at once": {
			actuals: valley, ceiling: "1",
			jobs: []backtest.Job{job(0, 1.5, 0), job(1, 1, 3)}, policy: "immediate", want: []float64{0, 1.5},
		},
		"the ceiling is that of the intensity now": {
			actuals: valley, ceiling: "150=2,*=0",
			jobs: []backtest.Job{job(0, 1, 4), job(0, 1, 4)}, policy: "immediate", want: []float64{2, 2},
		},
		"the oracle knows no ceiling": {
			actuals: valley, ceiling: "1",
			jobs: []backtest.Job{job(0, 1, 3), job(0, 1, 3)}, policy: "oracle", want: []float64{2, 2},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			policy, err := backtest.ParsePolicy(tt.policy)
			if err != nil {
				t.Fatal(err)
			}
			s := backtest.Setup{
				Actuals: tt.actuals, Documents: tt.documents, Jobs: tt.jobs, From: at(0), To: at(100), ForecastDelay: tt.delay,
				Terms: tt.terms, MaxAge: 24 * hour, Model: &believer{},
			}
			if tt.ceiling != "" {
				if s.Ceiling, err = plan.ParseBuckets(tt.ceiling); err != nil {
					t.Fatal(err)
				}
			}
			result, err := s.Run(t.Context(), policy)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, hoursOf(result.Runs[0].Starts), cmpopts.EquateApprox(0, 0.001)); diff != "" {
				t.Errorf("starts (-want +got):\n%s", diff)
			}
			if result.Runs[0].ForcedStarts != tt.forced {
				t.Errorf("%d forced, want %d", result.Runs[0].ForcedStarts, tt.forced)
			}
		})
	}
}

func TestScores(t *testing.T) {
	// started at once: 300, and (200+100)/2; by the oracle: 50, and 150
	s := backtest.Setup{
		Actuals: actual(300, 200, 100, 400, 400, 50, 300, 300), From: at(0), To: at(100), Model: &believer{},
		Jobs: []backtest.Job{job(0, 1, 6), job(1, 2, 1), job(-1, 1, 1), job(7, 1, 1)},
	}
	s.Jobs[1].Weight = 2
	result, err := s.Run(t.Context(), backtest.Policy{Kind: backtest.Oracle}, backtest.Policy{Kind: backtest.AtThreshold, Value: 100})
	if err != nil {
		t.Fatal(err)
	}
	if result.OutsideJobs != 1 || result.UncoveredJobs != 1 || len(result.Jobs) != 2 {
		t.Errorf("%d outside, %d uncovered, %d judged; want 1, 1, 2", result.OutsideJobs, result.UncoveredJobs, len(result.Jobs))
	}
	approx := cmpopts.EquateApprox(0, 1e-9)
	scores := result.Scores(s.Actuals, false)
	// the threshold: 100 at 2 h, and (100+400)/2 at 2 h
	want := map[backtest.Cell]backtest.Score{
		{Duration: hour, Slack: 6 * hour}: {Jobs: 1, AtOnce: 300, Emitted: 100, Saving: 1 - 100.0/300, Wait: 2 * hour, Runs: 1, Width: 1},
		{Duration: 2 * hour, Slack: hour}: {Jobs: 1, AtOnce: 150, Emitted: 250, Saving: 1 - 250.0/150, Wait: hour, Runs: 1, Width: 1, DirtierShare: 1},
	}
	if diff := cmp.Diff(want, scores[1].Cells, approx); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
	total := backtest.Score{Jobs: 2, AtOnce: 225, Emitted: 175, Saving: (200.0/300 - 100.0/150) / 2, Wait: 90 * time.Minute, Runs: 1, Width: 1, DirtierShare: 0.5}
	if diff := cmp.Diff(total, scores[1].Total, approx); diff != "" {
		t.Errorf("total (-want +got):\n%s", diff)
	}
	if scores[1].MaxConcurrent != 2 || math.Abs(scores[1].MeanConcurrent-3.0/4) > 1e-9 {
		t.Errorf("%d at once at most, %v on average; want 2, 0.75", scores[1].MaxConcurrent, scores[1].MeanConcurrent)
	}
	// pooled, energy counts: 1 kWh of 300 and 4 kWh of 150 against 1 of 50 and 4 of 150
	pooled := backtest.Score{Jobs: 2, AtOnce: 180, Emitted: 130, Saving: 1 - 650.0/900, Wait: 150 * time.Minute, Runs: 1, Width: 1}
	if diff := cmp.Diff(pooled, result.Scores(s.Actuals, true)[0].Total, approx); diff != "" {
		t.Errorf("pooled (-want +got):\n%s", diff)
	}
}

func TestNothingToJudge(t *testing.T) {
	s := backtest.Setup{Actuals: actual(1, 2), Jobs: []backtest.Job{job(0, 1, 5), job(-3, 1, 5)}, From: at(0), To: at(9)}
	_, err := s.Run(t.Context(), backtest.Policy{Kind: backtest.Immediate})
	want := "none of 2 jobs can be judged: 1 arrive outside 2021-07-01 00:00 UTC to 2021-07-01 09:00 UTC, " +
		"and 1 lack actual intensities, which are known from 2021-07-01 00:00 UTC to 2021-07-01 02:00 UTC"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// grid returns a month of an invented grid, with forecasts that are wrong at random.
func grid(random *rand.Rand) (backtest.Actuals, []backtest.Document) {
	var values []float64
	for h := range 40 * 24 {
		values = append(values, 300+120*math.Cos(float64(h%24)/24*2*math.Pi)+60*math.Sin(float64(h)/37)+30*random.Float64())
	}
	var documents []backtest.Document
	for d := 0; d+4 <= 40; d++ {
		var ahead []float64
		for h := range 96 {
			ahead = append(ahead, values[24*d+h]*(0.9+0.2*random.Float64()))
		}
		documents = append(documents, backtest.Document{Issued: at(float64(24 * d)), Series: hourly(24*d, ahead...)})
	}
	return actual(values...), documents
}

// TestPoliciesDoNotSeeOneAnother wants each policy to do what it does alone.
func TestPoliciesDoNotSeeOneAnother(t *testing.T) {
	actuals, documents := grid(rand.New(rand.NewPCG(3, 4)))
	jobs, err := backtest.RegularJobs(at(28*24), at(32*24), 7*hour, []time.Duration{hour, 150 * time.Minute}, []time.Duration{6 * hour, 24 * hour})
	if err != nil {
		t.Fatal(err)
	}
	setup := backtest.Setup{Actuals: actuals, Documents: documents, Jobs: jobs, From: at(28 * 24), To: at(32 * 24), History: 14 * 24 * hour, MaxAge: 24 * hour}
	policies := []backtest.Policy{{Kind: backtest.Gridlatch}, {Kind: backtest.Foresight}, {Kind: backtest.AtPercentile, Value: 30}, {Kind: backtest.Oracle}}
	together, err := setup.Run(t.Context(), policies...)
	if err != nil {
		t.Fatal(err)
	}
	for i, policy := range policies {
		alone, err := setup.Run(t.Context(), policy)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(hoursOf(alone.Runs[0].Starts), hoursOf(together.Runs[i].Starts)); diff != "" {
			t.Errorf("%s alone and in company (-alone +together):\n%s", policy, diff)
		}
	}
}

func TestWriteStarts(t *testing.T) {
	s := backtest.Setup{Actuals: actual(300, 200, 100, 400), From: at(0), To: at(9), Jobs: []backtest.Job{job(0, 1, 2), job(0, 1.5, 0)}, Model: &believer{}}
	result, err := s.Run(t.Context(), backtest.Policy{Kind: backtest.Oracle}, backtest.Policy{Kind: backtest.AtThreshold, Value: 200})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := result.WriteStarts(&out); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(out.String())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"arrival", "duration", "slack", "start", "policy"},
		{"2021-07-01T00:00:00Z", "1h", "2h", "2021-07-01T02:00:00Z", "oracle"},
		{"2021-07-01T00:00:00Z", "1h30m", "0s", "2021-07-01T00:00:00Z", "oracle"},
		{"2021-07-01T00:00:00Z", "1h", "2h", "2021-07-01T01:00:00Z", "threshold=200"},
		{"2021-07-01T00:00:00Z", "1h30m", "0s", "2021-07-01T00:00:00Z", "threshold=200"},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// An outage of the forecast's provider, which publishes zeros, is counted, and no policy believes
// the zeros.
func TestAnOutageOfTheForecastIsNotBelieved(t *testing.T) {
	actuals, documents := backtest.Actuals{Series: hourly(0, wave(40*24)...), SlotWidth: hour}, []backtest.Document(nil)
	for d := range 40 {
		values := wave((d + 2) * 24)[d*24:]
		if d == 35 {
			values = make([]float64, 48)
		}
		documents = append(documents, backtest.Document{Issued: at(float64(d * 24)), Series: hourly(d*24, values...)})
	}
	jobs, err := backtest.RegularJobs(at(35*24), at(36*24), hour, []time.Duration{hour}, []time.Duration{12 * hour})
	if err != nil {
		t.Fatal(err)
	}
	s := backtest.Setup{
		Actuals: actuals, Documents: documents, Jobs: jobs, From: at(30 * 24), To: at(38 * 24), History: 28 * 24 * hour, MaxAge: 24 * hour,
	}
	result, err := s.Run(t.Context(), backtest.Policy{Kind: backtest.Gridlatch}, backtest.Policy{Kind: backtest.Oracle}, backtest.Policy{Kind: backtest.Immediate})
	if err != nil {
		t.Fatal(err)
	}
	if result.DoubtedValues != 48 {
		t.Errorf("%d values are not believed, want the 48 of one forecast", result.DoubtedValues)
	}
	scores := result.Scores(actuals, false)
	if got, best := scores[0].Total.Saving, scores[1].Total.Saving; got < 0.8*best {
		t.Errorf("saved %.3f on the day of the outage, and the best is %.3f", got, best)
	}
}

// wave returns a grid with equal days.
func wave(hours int) []float64 {
	values := make([]float64, hours)
	for h := range values {
		values[h] = 300 + 120*math.Cos(float64(h%24-19)/24*2*math.Pi)
	}
	return values
}
