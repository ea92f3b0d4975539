package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/replay"
	"github.com/gridlatch/gridlatch/feed/history"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/energy"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

const (
	exampleLedger = "../../docs/example/ledger.yaml"
	tracePath     = "../../forecast/testdata/traces/CISO"
)

// exampleJobs are the jobs of two teams over some weeks: long jobs that can wait a little, and
// short ones that can wait for the sun.
func exampleJobs(t *testing.T) string {
	t.Helper()
	var jobs strings.Builder
	jobs.WriteString("arrival,duration,slack\n")
	for day := parse(t, "2021-07-15T00:00:00Z"); day.Before(parse(t, "2021-08-08T00:00:00Z")); day = day.AddDate(0, 0, 1) {
		fmt.Fprintf(&jobs, "%s,4h,6h\n", day.Add(3*time.Hour).Format(time.RFC3339))
		for _, hour := range []int{6, 13, 22} {
			fmt.Fprintf(&jobs, "%s,1h,9h\n", day.Add(time.Duration(hour)*time.Hour).Format(time.RFC3339))
		}
	}
	path := filepath.Join(t.TempDir(), "jobs.csv")
	if err := os.WriteFile(path, []byte(jobs.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// simulated returns the groups as the planner starts them on the real grid, and what simulate says
// of them.
func simulated(t *testing.T) ([]ledger.Group, replay.Report) {
	t.Helper()
	starts := filepath.Join(t.TempDir(), "starts.csv")
	args := []string{"simulate", "--actual", tracePath + ".actual.csv", "--forecast", tracePath + ".forecast.csv", "--jobs", exampleJobs(t), "--policy", "gridlatch", "--starts", starts, "-o", "json"}
	code, stdout, stderr := call(t, nil, args...)
	var said replay.Report
	if err := json.Unmarshal([]byte(stdout), &said); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v: %s", code, err, stderr)
	}
	file, err := os.Open(starts)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	records, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var groups []ledger.Group
	for i, record := range records[1:] {
		groups = append(groups, startedGroup(t, i, record))
	}
	return groups, said
}

// startedGroup returns the group of a line: arrival,duration,slack,start,policy.
func startedGroup(t *testing.T, n int, record []string) ledger.Group {
	t.Helper()
	arrived, released := parse(t, record[0]), parse(t, record[3])
	duration, err := plan.ParseDuration(record[1])
	if err != nil {
		t.Fatal(err)
	}
	slack, err := backtest.ParseSlack(record[2])
	if err != nil {
		t.Fatal(err)
	}
	g := ledger.Group{
		UID: fmt.Sprintf("job-%03d", n), Kind: "Job", Policy: "default", Mode: ledger.Enforce, Source: "gridlatch-system/carbon-intensity-default/data",
		Location: "CISO", OtherLocation: "CISO", Arrived: arrived, LatestStart: arrived.Add(slack), Released: released, Ended: released.Add(duration), SeenEnd: true,
		Wait: released.Sub(arrived), Units: 1,
	}
	kind, requests, cores := "research", energy.Requests{Cores: 16, GiB: 64}, 96.0
	if duration < 2*time.Hour {
		kind, requests = "reports", energy.Requests{Cores: 2, GiB: 4}
	}
	c := energy.Default()
	g.Namespace, g.Name, g.Owner, g.Energy = kind, fmt.Sprintf("%s-%03d", kind, n), "CronJob/"+kind, energy.Modelled
	g.Steps = []ledger.Step{{Start: released, End: g.Ended, Watts: c.Watts(requests)}}
	g.EmbodiedGrams, g.CoreHours = c.EmbodiedGrams(requests, cores, duration.Hours()), requests.Cores*duration.Hours()
	return g
}

func readTrace(t *testing.T) *forecast.Series {
	t.Helper()
	file, err := os.Open(tracePath + ".actual.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	actuals, err := backtest.ReadActuals(file.Name(), file)
	if err != nil {
		t.Fatal(err)
	}
	return actuals.Series
}

// settledPages returns the pages of groups once all are settled.
func settledPages(t *testing.T, series *forecast.Series, groups []ledger.Group) []client.Object {
	t.Helper()
	actuals := func(string, string) *forecast.Series { return series }
	return pagesOf(t, actuals, parse(t, "2021-09-01T00:00:00Z"), groups)
}

// TestSimulateAndTheLedgerAgree books the jobs of a back-test as they were started there, all at
// the same power.
func TestSimulateAndTheLedgerAgree(t *testing.T) {
	groups, said := simulated(t)
	for i := range groups {
		groups[i].Steps[0].Watts = 100
	}
	dump := writeDump(t, false, settledPages(t, readTrace(t), groups))
	r := reported(t, nil, "--ledger", dump, "--since", "2021-07-01", "--until", "2021-09-01")
	total, want := r.Sections[0].Total, said.Policies[0]
	for name, pair := range map[string][2]float64{
		"groups":    {float64(total.Groups), float64(want.Jobs)},
		"saving":    {*total.SavedPercent, want.SavingPercent},
		"oracle":    {*total.OracleSharePercent, *want.OraclePercent},
		"intensity": {*total.MeanIntensity, want.Intensity},
		"wait":      {total.MeanWaitHours, want.MeanWaitHours},
	} {
		if math.Abs(pair[0]-pair[1]) > 1e-6 || pair[1] == 0 {
			t.Errorf("%s: the ledger says %v, simulate %v", name, pair[0], pair[1])
		}
	}
}

// TestTheExampleIsOfARealGrid compares the ledger of docs/report.md with what the planner does on
// the grid of California. With -update, it writes the ledger anew.
func TestTheExampleIsOfARealGrid(t *testing.T) {
	groups, _ := simulated(t)
	objects := settledPages(t, readTrace(t), withTroubles(groups))
	origin := forecast.Origin{Provider: "CarbonCast", Zone: "CISO", Signal: forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.LifeCycle}}
	past := history.ConfigMap(forecast.ParseSource(groups[0].Source), "CISO", origin, nil)
	past.Namespace = "gridlatch-system"
	made := writeDump(t, false, append(objects, past))
	if *update {
		data, err := os.ReadFile(made)
		if err == nil {
			err = os.WriteFile(exampleLedger, data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"report", "--since", "2021-07-01", "--until", "2021-09-01", "--by", "day,owner", "-o", "csv", "--ledger"}
	_, want, _ := call(t, nil, append(args, made)...)
	code, got, stderr := call(t, nil, append(args, exampleLedger)...)
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, stderr %s", code, stderr)
	}
	wantSameFigures(t, got, want)
}

// wantSameFigures compares two tables in CSV, cell by cell. How exactly pages keep numbers may change.
func wantSameFigures(t *testing.T, got, want string) {
	t.Helper()
	gotCells, wantCells := strings.FieldsFunc(got, isBetweenCells), strings.FieldsFunc(want, isBetweenCells)
	if len(gotCells) != len(wantCells) || len(wantCells) < 1000 {
		t.Fatalf("%d cells, want %d", len(gotCells), len(wantCells))
	}
	for i := range wantCells {
		a, errA := strconv.ParseFloat(gotCells[i], 64)
		b, errB := strconv.ParseFloat(wantCells[i], 64)
		if gotCells[i] != wantCells[i] && (errA != nil || errB != nil || !near(a, b)) {
			t.Fatalf("cell %d is %s, want %s", i, gotCells[i], wantCells[i])
		}
	}
}

func isBetweenCells(r rune) bool { return r == ',' || r == '\n' }

// withTroubles has some work fail, and adds a team that only has its work audited.
func withTroubles(groups []ledger.Group) []ledger.Group {
	all := slices.Clone(groups)
	for i, g := range groups {
		switch {
		case i%17 == 5: // the first attempt has failed after half of the time
			half := g.Released.Add(g.Ended.Sub(g.Released) / 2)
			watts := g.Steps[0].Watts
			all[i].Steps = []ledger.Step{{Start: g.Released, End: half, Watts: watts, FailedWatts: watts}, {Start: half, End: g.Ended, Watts: watts}}
		case i%40 == 9:
			all[i].Failed, all[i].Units = true, 0
			all[i].Steps = []ledger.Step{{Start: g.Released, End: g.Ended, Watts: g.Steps[0].Watts, FailedWatts: g.Steps[0].Watts}}
		}
		if g.Namespace == "research" {
			g.UID, g.Name, g.Namespace, g.Owner, g.Mode = "audited-"+g.UID, "training-"+g.Name, "vision", "Job/training", ledger.Audit
			length := g.Ended.Sub(g.Released)
			g.Released, g.Ended = g.Arrived, g.Arrived.Add(length)
			g.Steps = []ledger.Step{{Start: g.Released, End: g.Ended, Watts: 310}}
			g.Energy = energy.Measured
			all = append(all, g)
		}
	}
	return all
}
