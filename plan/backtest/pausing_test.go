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

// runsOf turns runs into hours after at(0): their starts and ends.
func runsOf(spans []backtest.Span) (hours []float64) {
	for _, s := range spans {
		hours = append(hours, s.Start.Sub(at(0)).Hours(), s.End.Sub(at(0)).Hours())
	}
	return hours
}

// grams returns what runs emit, by hourly intensities from at(0) on, for one kW.
func grams(actuals backtest.Actuals, spans []backtest.Span) (sum float64) {
	for _, s := range spans {
		mean, _ := actuals.Series.Mean(s.Start, s.End)
		sum += mean * s.End.Sub(s.Start).Hours()
	}
	return sum
}

func TestJobsArePausedAndResumed(t *testing.T) {
	peaks := actual(100, 100, 500, 500, 100, 100, 300, 300, 300, 300, 300, 300)
	right := []backtest.Document{{Issued: at(0), Series: peaks.Series}}
	tests := map[string]struct {
		documents []backtest.Document
		pausing   backtest.Pausing
		ceiling   string
		jobs      []backtest.Job
		policy    string
		want      [][]float64
	}{
		"gridlatch pauses through the peak": {
			documents: right, pausing: backtest.Pausing{Runs: 3}, jobs: []backtest.Job{job(0, 4, 5)}, policy: "gridlatch", want: [][]float64{{0, 2, 4, 6}},
		},
		"a restart takes run time": {
			documents: right, pausing: backtest.Pausing{Runs: 3, RestartCost: 30 * time.Minute}, jobs: []backtest.Job{job(0, 4, 5)}, policy: "gridlatch",
			want: [][]float64{{0, 2, 4, 6.5}},
		},
		"one run is no pause": {
			documents: right, pausing: backtest.Pausing{Runs: 1}, jobs: []backtest.Job{job(0, 4, 5)}, policy: "gridlatch", want: [][]float64{{4, 8}},
		},
		"uninterrupted runs through": {
			documents: right, pausing: backtest.Pausing{Runs: 3}, jobs: []backtest.Job{job(0, 4, 5)}, policy: "uninterrupted", want: [][]float64{{4, 8}},
		},
		"the oracle knows the peak": {
			pausing: backtest.Pausing{Runs: 3}, jobs: []backtest.Job{job(0, 4, 5)}, policy: "oracle", want: [][]float64{{0, 2, 4, 6}},
		},
		"the oracle pays for a restart": {
			pausing: backtest.Pausing{Runs: 2, RestartCost: 20 * time.Minute}, jobs: []backtest.Job{job(0, 4, 5)}, policy: "oracle",
			want: [][]float64{{0, 2, 4, 6 + 1.0/3}},
		},
		"the oracle does not pause for nothing": {
			pausing: backtest.Pausing{Runs: 3}, jobs: []backtest.Job{job(6, 2, 3)}, policy: "oracle", want: [][]float64{{6, 8}},
		},
		"foresight needs no forecast": {
			pausing: backtest.Pausing{Runs: 3}, jobs: []backtest.Job{job(0, 4, 5)}, policy: "foresight", want: [][]float64{{0, 2, 4, 6}},
		},
		"without a forecast nothing is paused": {
			pausing: backtest.Pausing{Runs: 3}, jobs: []backtest.Job{job(0, 4, 5)}, policy: "gridlatch", want: [][]float64{{0, 4}},
		},
		"a forecast that turns after the pause": {
			documents: []backtest.Document{{Issued: at(0), Series: peaks.Series}, {Issued: at(3), Series: hourly(3, 100, 300, 300, 300, 300, 300)}},
			pausing:   backtest.Pausing{Runs: 3}, jobs: []backtest.Job{job(0, 4, 5)}, policy: "gridlatch", want: [][]float64{{0, 2, 3, 5}},
		},
		"no run is shorter than the least": {
			documents: []backtest.Document{{Issued: at(0), Series: peaks.Series}, {Issued: at(1), Series: hourly(1, 500, 500, 500, 100, 100, 100, 100, 100)}},
			pausing:   backtest.Pausing{Runs: 3, MinRun: 90 * time.Minute}, jobs: []backtest.Job{job(0, 4, 5)}, policy: "gridlatch", want: [][]float64{{0, 1.5, 4, 6.5}},
		},
		"from the latest start on a job runs through": {
			documents: []backtest.Document{{Issued: at(0), Series: hourly(0, 500, 400, 400, 400, 300, 300, 300, 300, 1)}},
			pausing:   backtest.Pausing{Runs: 3, RestartCost: time.Hour}, jobs: []backtest.Job{job(0, 4, 1)}, policy: "gridlatch", want: [][]float64{{1, 5}},
		},
		"a job that must run soon gets the room of a job that can be paused": {
			documents: []backtest.Document{{Issued: at(0), Series: peaks.Series}}, ceiling: "150=1,*=1",
			pausing: backtest.Pausing{Runs: 3}, jobs: []backtest.Job{job(0, 4, 5), job(1, 2, 1)}, policy: "gridlatch", want: [][]float64{{0, 1, 4, 7}, {1, 3}},
		},
		"greedy waits for room to resume": {
			documents: right, ceiling: "1",
			pausing: backtest.Pausing{Runs: 3}, jobs: []backtest.Job{job(0, 4, 5), job(3, 2, 0)}, policy: "greedy", want: [][]float64{{0, 2, 5, 7}, {3, 5}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			policy, err := backtest.ParsePolicy(tt.policy)
			if err != nil {
				t.Fatal(err)
			}
			s := backtest.Setup{
				Actuals: peaks, Documents: tt.documents, Jobs: tt.jobs, From: at(0), To: at(100), MaxAge: 24 * hour, Model: &believer{}, Pausing: &tt.pausing,
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
			var got [][]float64
			for i, job := range result.Jobs {
				got = append(got, runsOf(result.Runs[0].SpansOf(i, job)))
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateApprox(0, 0.001)); diff != "" {
				t.Errorf("runs (-want +got):\n%s", diff)
			}
		})
	}
}

// cheapestHours looks at every choice of whole hours in which a job runs in at most most runs, none
// shorter than least but the last, and each but the first with extra hours for a restart. It returns
// the least that these hours emit.
func cheapestHours(values []float64, hours, most, restart, least int) float64 {
	best := math.Inf(1)
	for set := range 1 << len(values) {
		sum, work, runs, length, valid := 0.0, 0, 0, 0, true
		for i, value := range values {
			if set>>i&1 == 0 {
				valid, length = valid && (length == 0 || length >= least || work >= hours), 0
				continue
			}
			if length == 0 {
				if runs++; runs > 1 {
					work -= restart
				}
			}
			valid = valid && work < hours // no more than that
			sum, work, length = sum+value, work+1, length+1
		}
		if valid && work == hours && runs <= most {
			best = math.Min(best, sum)
		}
	}
	return best
}

func TestTheOracleHasTheCheapestRunsThereAre(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 22))
		values := make([]float64, 13)
		for i := range values {
			values[i] = float64(10 + r.IntN(500))
		}
		hours, most, restart, least := 1+r.IntN(7), 1+r.IntN(3), r.IntN(3), r.IntN(4)
		s := backtest.Setup{
			Actuals: actual(values...), Jobs: []backtest.Job{job(0, float64(hours), float64(13-hours))}, From: at(0), To: at(13),
			Pausing: &backtest.Pausing{Runs: most, RestartCost: time.Duration(restart) * hour, MinRun: time.Duration(least) * hour},
		}
		result, err := s.Run(t.Context(), backtest.Policy{Kind: backtest.Oracle})
		if err != nil {
			t.Fatal(err)
		}
		spans := result.Runs[0].SpansOf(0, result.Jobs[0])
		got, want := grams(s.Actuals, spans), cheapestHours(values, hours, most, restart, least)
		if math.Abs(got-want) > 1e-6*want {
			t.Errorf("seed %d: %d hours in %d runs of %d hours, with a restart of %d hours, emit %.2f in %v; want %.2f", seed, hours, most, least, restart, got, runsOf(spans), want)
		}
	}
}

// TestOddTimesCostTheOracleNothing compares jobs with odd seconds, for which the oracle takes a larger
// unit of time than would be exact, with jobs on the minute.
func TestOddTimesCostTheOracleNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	actuals, _ := grid(r)
	for range 40 {
		odd := backtest.Job{
			Arrival:  at(float64(10 + r.IntN(600))).Add(time.Duration(r.IntN(3600)) * time.Second),
			Duration: time.Duration(7200+r.IntN(10*3600)) * time.Second, Slack: time.Duration(r.IntN(48*3600)) * time.Second, Weight: 1,
		}
		even := odd // has a little more time, and is not longer
		even.Arrival, even.Duration = odd.Arrival.Truncate(6*time.Minute), odd.Duration.Truncate(6*time.Minute)
		even.Slack = odd.Arrival.Add(odd.Slack+odd.Duration).Sub(even.Arrival.Add(even.Duration)).Truncate(6*time.Minute) + 6*time.Minute
		s := backtest.Setup{
			Actuals: actuals, Jobs: []backtest.Job{odd, even}, From: at(0), To: at(40 * 24), Model: &believer{},
			Pausing: &backtest.Pausing{Runs: 3, RestartCost: 6 * time.Minute, MinRun: 30 * time.Minute},
		}
		result, err := s.Run(t.Context(), backtest.Policy{Kind: backtest.Oracle})
		if err != nil {
			t.Fatal(err)
		}
		checkSpans(t, s, result.Runs[0], result.Jobs)
		intensity := func(i int) float64 {
			return grams(actuals, result.Runs[0].SpansOf(i, result.Jobs[i])) / result.Jobs[i].Duration.Hours()
		}
		if odd, even := intensity(0), intensity(1); odd > even*1.01 {
			t.Errorf("%+v: %.2f gCO2eq/kWh, want little more than %.2f", result.Jobs[0], odd, even)
		}
	}
}

func TestTheOraclePlansOddJobs(t *testing.T) {
	values := make([]float64, 400*24)
	for i := range values {
		values[i] = 300 + 200*math.Sin(float64(i)/40)
	}
	for name, tt := range map[string]struct {
		job     backtest.Job
		pausing backtest.Pausing
	}{
		"longer than most of a year":      {job(5, 300*24, 60*24), backtest.Pausing{Runs: 3, RestartCost: 10 * time.Minute, MinRun: time.Hour}},
		"with a restart beyond its slack": {job(5, 12, 24), backtest.Pausing{Runs: 3, RestartCost: 100 * 24 * hour}},
		"shorter than the least run":      {job(5, 0.4, 24), backtest.Pausing{Runs: 3, MinRun: 48 * hour}},
		"without slack":                   {job(5, 12, 0), backtest.Pausing{Runs: 3}},
		"of a second":                     {job(5.3, 1.0/3600, 24), backtest.Pausing{Runs: 3, RestartCost: time.Second}},
		"in more runs than there can be":  {job(5, 12, 24), backtest.Pausing{Runs: 1000}},
	} {
		t.Run(name, func(t *testing.T) {
			s := backtest.Setup{Actuals: actual(values...), Jobs: []backtest.Job{tt.job}, From: at(0), To: at(1000), Model: &believer{}, Pausing: &tt.pausing}
			result, err := s.Run(t.Context(), backtest.Policy{Kind: backtest.Oracle}, backtest.Policy{Kind: backtest.Foresight})
			if err != nil {
				t.Fatal(err)
			}
			for _, run := range result.Runs {
				checkSpans(t, s, run, result.Jobs)
			}
		})
	}
}

// checkSpans checks that all work is done, in time, in few runs that are long enough.
func checkSpans(t *testing.T, s backtest.Setup, run backtest.Run, jobs []backtest.Job) {
	t.Helper()
	for i, job := range jobs {
		spans := run.SpansOf(i, job)
		work, free := -time.Duration(len(spans)-1)*s.Pausing.RestartCost, job.Arrival
		for k, span := range spans {
			if span.Start.Before(free) || !span.End.After(span.Start) || k < len(spans)-1 && span.End.Sub(span.Start) < s.Pausing.MinRun {
				t.Fatalf("%s: job %d has runs that overlap or are too short: %v", run.Policy, i, runsOf(spans))
			}
			work, free = work+span.End.Sub(span.Start), span.End
		}
		if work != job.Duration || len(spans) > s.Pausing.Runs || free.After(job.LatestStart().Add(job.Duration)) {
			t.Fatalf("%s: job %d of %s does %s in %v, want it done by %s", run.Policy, i, job.Duration, work, runsOf(spans), job.LatestStart().Add(job.Duration))
		}
	}
}

// interruptible returns a setup on an invented grid.
func interruptible(t *testing.T) backtest.Setup {
	t.Helper()
	actuals, documents := grid(rand.New(rand.NewPCG(1, 2)))
	from, to := at(20*24), at(28*24)
	jobs, err := backtest.RegularJobs(from, to, 5*hour, []time.Duration{150 * time.Minute, 12 * hour}, []time.Duration{6 * hour, 31 * hour})
	if err != nil {
		t.Fatal(err)
	}
	return backtest.Setup{
		Actuals: actuals, Documents: documents, Jobs: jobs, From: from, To: to, History: 20 * 24 * hour, MaxAge: 24 * hour,
		Terms: plan.Terms{WaitPrice: 0.001, MinGain: 0.01}, Pausing: &backtest.Pausing{Runs: 3, RestartCost: 7 * time.Minute, MinRun: 40 * time.Minute},
	}
}

// TestInterruptedJobsAreDoneInTime also compares the policies: to pause saves more than to wait, and
// nothing saves more than the oracle.
func TestInterruptedJobsAreDoneInTime(t *testing.T) {
	flat, err := plan.ParseBuckets("6")
	if err != nil {
		t.Fatal(err)
	}
	policies := []backtest.Policy{{Kind: backtest.Gridlatch}, {Kind: backtest.Uninterrupted}, {Kind: backtest.Oracle}, {Kind: backtest.Greedy}, {Kind: backtest.Foresight}, {Kind: backtest.Immediate}}
	for name, ceiling := range map[string]plan.Buckets{"without a ceiling": {}, "below a ceiling": flat} {
		t.Run(name, func(t *testing.T) {
			s := interruptible(t)
			s.Ceiling = ceiling
			result, err := s.Run(t.Context(), policies...)
			if err != nil {
				t.Fatal(err)
			}
			for _, run := range result.Runs {
				checkSpans(t, s, run, result.Jobs)
			}
			scores := result.Scores(s.Actuals, false)
			ours, waiting, oracle := scores[0].Total, scores[1].Total, scores[2].Total
			if ours.Runs <= 1 || ours.Pause <= 0 || waiting.Runs != 1 || waiting.Pause != 0 {
				t.Errorf("%v and %v runs for each job, with pauses of %s and %s", ours.Runs, waiting.Runs, ours.Pause, waiting.Pause)
			}
			if !(waiting.Saving < ours.Saving) {
				t.Errorf("saved %.4f with pauses and %.4f without", ours.Saving, waiting.Saving)
			}
			for _, other := range scores {
				if other.Total.Saving > oracle.Saving+1e-9 {
					t.Errorf("%s saved %.4f, the oracle %.4f", other.Policy, other.Total.Saving, oracle.Saving)
				}
			}
		})
	}
}

// TestPausesDoNotLookAhead changes everything that becomes known after a moment, and compares the runs
// up to that moment.
func TestPausesDoNotLookAhead(t *testing.T) {
	setup := interruptible(t)
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
	until := func(spans []backtest.Span) (hours []float64) {
		for _, s := range spans {
			for _, moment := range []time.Time{s.Start, s.End} {
				if !moment.After(cut) {
					hours = append(hours, moment.Sub(at(0)).Hours())
				}
			}
		}
		return hours
	}
	differ := 0
	for i := range plain.Jobs {
		if diff := cmp.Diff(until(plain.Runs[0].Spans[i]), until(other.Runs[0].Spans[i])); diff != "" {
			t.Errorf("the runs of job %d up to the cut changed (-before +after):\n%s", i, diff)
		}
		if !cmp.Equal(plain.Runs[0].Spans[i], other.Runs[0].Spans[i]) {
			differ++
		}
	}
	if differ == 0 {
		t.Error("no run after the cut moved, though all intensities did")
	}
}

func TestEachRunIsARowOfTheStarts(t *testing.T) {
	s := backtest.Setup{
		Actuals: actual(100, 300, 100, 400), From: at(0), To: at(9), Jobs: []backtest.Job{job(0, 1.5, 2)}, Pausing: &backtest.Pausing{Runs: 2},
	}
	result, err := s.Run(t.Context(), backtest.Policy{Kind: backtest.Oracle}, backtest.Policy{Kind: backtest.Immediate})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := result.WriteStarts(&out); err != nil {
		t.Fatal(err)
	}
	want := `arrival,duration,slack,start,policy,end
2021-07-01T00:00:00Z,1h30m,2h,2021-07-01T00:00:00Z,oracle,2021-07-01T01:00:00Z
2021-07-01T00:00:00Z,1h30m,2h,2021-07-01T02:00:00Z,oracle,2021-07-01T02:30:00Z
2021-07-01T00:00:00Z,1h30m,2h,2021-07-01T00:00:00Z,immediate,2021-07-01T01:30:00Z
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}
