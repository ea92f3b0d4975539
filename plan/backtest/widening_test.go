package backtest_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

// widthsOf turns runs into their starts, in hours after at(0), and how many times as wide they are.
// The end of the last run comes last.
func widthsOf(spans []backtest.Span) (numbers []float64) {
	for _, s := range spans {
		numbers = append(numbers, s.Start.Sub(at(0)).Hours(), max(s.Times, 1))
	}
	return append(numbers, spans[len(spans)-1].End.Sub(at(0)).Hours())
}

func speedup(t *testing.T, text string) plan.Speedup {
	t.Helper()
	s, err := plan.ParseSpeedup(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestJobsRunWiderInCleanHours(t *testing.T) {
	valley := actual(400, 300, 100, 100, 300, 400, 400, 400, 400, 400)
	right := []backtest.Document{{Issued: at(0), Series: valley.Series}}
	linear := backtest.Widening{Least: 1, Most: 4}
	tests := map[string]struct {
		documents []backtest.Document
		widening  backtest.Widening
		job       backtest.Job
		policy    string
		want      []float64
	}{
		"gridlatch waits, and is wide in the valley": {right, linear, job(0, 6, 2), "gridlatch", []float64{2, 4, 3.5}},
		"from its latest start a job is narrow until the valley": {
			right, linear, job(0, 7, 1), "gridlatch", []float64{1, 1, 2, 4, 3.5},
		},
		"the least is what it was":    {right, backtest.Widening{Least: 2, Most: 4}, job(0, 4, 2), "gridlatch", []float64{2, 2, 4}},
		"a speedup that soon is flat": {right, backtest.Widening{Least: 1, Most: 4, Speedup: speedup(t, "1=1,2=1.5,4=1.6")}, job(0, 4, 2), "gridlatch", []float64{1, 1, 2, 2, 4}},
		"fixed is never wider":        {right, linear, job(0, 4, 2), "fixed", []float64{1, 1, 5}},
		"the oracle needs no forecast, and starts late": {
			nil, linear, job(0, 7, 0), "oracle", []float64{2, 4, 3, 3, 4},
		},
		"foresight needs no forecast":           {nil, linear, job(0, 6, 2), "foresight", []float64{2, 4, 3.5}},
		"without a forecast nothing is widened": {nil, linear, job(0, 4, 2), "gridlatch", []float64{0, 1, 4}},
		"a forecast that turns makes no job late": {
			[]backtest.Document{{Issued: at(0), Series: hourly(0, 400, 400, 400, 400, 10, 10, 10)}, {Issued: at(4), Series: hourly(4, 500, 500, 500, 10, 10, 10)}},
			linear, job(0, 6, 1), "gridlatch", []float64{1, 1, 7},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			policy, err := backtest.ParsePolicy(tt.policy)
			if err != nil {
				t.Fatal(err)
			}
			s := backtest.Setup{
				Actuals: valley, Documents: tt.documents, Jobs: []backtest.Job{tt.job}, From: at(0), To: at(100), MaxAge: 24 * hour, Model: &believer{}, Widening: &tt.widening,
			}
			result, err := s.Run(t.Context(), policy)
			if err != nil {
				t.Fatal(err)
			}
			got := widthsOf(result.Runs[0].SpansOf(0, tt.job))
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateApprox(0, 0.001)); diff != "" {
				t.Errorf("widths (-want +got):\n%s", diff)
			}
		})
	}
}

// cheapestWidths tries all widths of whole hours, without a break once a job has started. It returns the
// least grams for one kW of some hours of one pod.
func cheapestWidths(values []float64, work, most int, isRunning bool) float64 {
	switch {
	case work <= 0:
		return 0
	case len(values) == 0:
		return math.Inf(1)
	}
	best := math.Inf(1)
	if !isRunning {
		best = cheapestWidths(values[1:], work, most, false)
	}
	for width := 1; width <= min(most, work); width++ {
		best = min(best, float64(width)*values[0]+cheapestWidths(values[1:], work-width, most, true))
	}
	return best
}

func TestTheOracleHasTheCheapestWidthsThereAre(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		values := make([]float64, 9)
		for i := range values {
			values[i] = float64(50 + r.IntN(500))
		}
		work, most := 1+r.IntN(6), 1+r.IntN(4)
		slack := r.IntN(9 - work)
		s := backtest.Setup{
			Actuals: actual(values...), Jobs: []backtest.Job{job(0, float64(work), float64(slack))}, From: at(0), To: at(9),
			Widening: &backtest.Widening{Least: 1, Most: most},
		}
		result, err := s.Run(t.Context(), backtest.Policy{Kind: backtest.Oracle})
		if err != nil {
			t.Fatal(err)
		}
		got, want := result.Scores(s.Actuals, false)[0].Total.Emitted*float64(work), cheapestWidths(values[:work+slack], work, most, false)
		if math.Abs(got-want) > 1e-3*want {
			t.Fatalf("%d h, slack %d h, 1-%d wide in %v: %g g, want %g: %v", work, slack, most, values, got, want, widthsOf(result.Runs[0].Spans[0]))
		}
	}
}

// elastic returns a setup on an invented grid.
func elastic(t *testing.T) backtest.Setup {
	t.Helper()
	s := interruptible(t)
	s.Pausing, s.Widening = nil, &backtest.Widening{Least: 2, Most: 9, Speedup: speedup(t, "2=2,6=5,9=7")}
	return s
}

// TestElasticJobsAreDoneInTime also compares the policies: to widen saves more than to wait, and nothing
// saves more than the oracle.
func TestElasticJobsAreDoneInTime(t *testing.T) {
	s := elastic(t)
	result, err := s.Run(t.Context(), backtest.Policy{Kind: backtest.Gridlatch}, backtest.Policy{Kind: backtest.Fixed}, backtest.Policy{Kind: backtest.Oracle},
		backtest.Policy{Kind: backtest.Foresight}, backtest.Policy{Kind: backtest.Immediate})
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range result.Runs {
		for i, job := range result.Jobs {
			var work float64
			spans := run.SpansOf(i, job)
			for k, span := range spans {
				if k > 0 && !span.Start.Equal(spans[k-1].End) || !span.End.After(span.Start) {
					t.Fatalf("%s: job %d has a break: %v", run.Policy, i, widthsOf(spans))
				}
				times := max(span.Times, 1)
				work += s.Widening.Speedup.At(int(math.Round(2*times))) / 2 * span.End.Sub(span.Start).Hours()
			}
			end, finish := spans[len(spans)-1].End, job.LatestStart().Add(job.Duration)
			if math.Abs(work-job.Duration.Hours()) > 0.002 || end.After(finish.Add(2*time.Second)) {
				t.Fatalf("%s: job %d of %s does %g h until %s, want it done by %s", run.Policy, i, job.Duration, work, end, finish)
			}
		}
	}
	scores := result.Scores(s.Actuals, false)
	ours, fixed, oracle := scores[0].Total, scores[1].Total, scores[2].Total
	if ours.Width <= 1 || fixed.Width != 1 || ours.Runs != 1 || ours.Pause != 0 {
		t.Errorf("%v and %v times as wide, in %v runs, with pauses of %s", ours.Width, fixed.Width, ours.Runs, ours.Pause)
	}
	if !(fixed.Saving < ours.Saving) {
		t.Errorf("saved %.4f with other widths and %.4f without", ours.Saving, fixed.Saving)
	}
	for _, other := range scores {
		if other.Total.Saving > oracle.Saving+1e-6 {
			t.Errorf("%s saved %.4f, the oracle %.4f", other.Policy, other.Total.Saving, oracle.Saving)
		}
	}
}

// TestWidthsDoNotLookAhead changes everything that becomes known after a moment, and compares the widths
// up to that moment.
func TestWidthsDoNotLookAhead(t *testing.T) {
	setup := elastic(t)
	plain, err := setup.Run(t.Context(), backtest.Policy{Kind: backtest.Gridlatch})
	if err != nil {
		t.Fatal(err)
	}
	cut := at(26*24 + 7)
	changed := setup
	changed.Actuals, changed.Documents = disturb(rand.New(rand.NewPCG(7, 8)), setup.Actuals, setup.Documents, cut)
	other, err := changed.Run(t.Context(), backtest.Policy{Kind: backtest.Gridlatch})
	if err != nil {
		t.Fatal(err)
	}
	until := func(spans []backtest.Span) (numbers []float64) {
		for _, s := range spans {
			if !s.Start.After(cut) {
				numbers = append(numbers, s.Start.Sub(at(0)).Hours(), s.Times)
			}
		}
		return numbers
	}
	differ := 0
	for i := range plain.Jobs {
		if diff := cmp.Diff(until(plain.Runs[0].Spans[i]), until(other.Runs[0].Spans[i])); diff != "" {
			t.Errorf("the widths of job %d up to the cut changed (-before +after):\n%s", i, diff)
		}
		if !cmp.Equal(plain.Runs[0].Spans[i], other.Runs[0].Spans[i]) {
			differ++
		}
	}
	if differ == 0 {
		t.Error("no width after the cut changed, though all intensities did")
	}
}

func TestEachWidthIsARowOfTheStarts(t *testing.T) {
	s := backtest.Setup{
		Actuals: actual(300, 100, 200, 400), From: at(0), To: at(9), Jobs: []backtest.Job{job(0, 3, 1)}, Widening: &backtest.Widening{Least: 2, Most: 4},
	}
	result, err := s.Run(t.Context(), backtest.Policy{Kind: backtest.Oracle}, backtest.Policy{Kind: backtest.Immediate})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := result.WriteStarts(&out); err != nil {
		t.Fatal(err)
	}
	want := `arrival,duration,slack,start,policy,end,times
2021-07-01T00:00:00Z,3h,1h,2021-07-01T01:00:00Z,oracle,2021-07-01T02:00:00Z,2
2021-07-01T00:00:00Z,3h,1h,2021-07-01T02:00:00Z,oracle,2021-07-01T03:00:00Z,1
2021-07-01T00:00:00Z,3h,1h,2021-07-01T00:00:00Z,immediate,2021-07-01T03:00:00Z,1
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}
