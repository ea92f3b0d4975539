package main

import (
	"encoding/csv"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/replay"
)

func TestSimulateWidensJobs(t *testing.T) {
	code, stdout, stderr := call(t, asking(), "simulate", "--provider", "mock", "--zone", "DE", "--since", "2026-06-01", "--until", "2026-08-01", "--durations", "4h,12h",
		"--slacks", "12h,24h", "--every", "6h", "--parallelism", "2-8", "--speedup", "2=2,8=6", "--cells")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	wantGolden(t, "simulate-parallelism", stdout)
}

// TestWidthsAddUpToTheTable computes what wider jobs emitted from the file of the runs alone.
func TestWidthsAddUpToTheTable(t *testing.T) {
	dir := t.TempDir()
	starts := filepath.Join(dir, "starts.csv")
	code, stdout, stderr := call(t, nil, "simulate", "--actual", writeGrid(t), "--durations", "12h", "--slacks", "24h", "--parallelism", "2-7",
		"--policy", "gridlatch", "--starts", starts, "--plot", filepath.Join(dir, "p.svg"), "-o", "json")
	var got replay.Report
	if err := json.Unmarshal([]byte(stdout), &got); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v: %s", code, err, stderr)
	}
	file, err := os.Open(starts)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	jobs, emitted, work := map[string]bool{}, 0.0, 0.0
	for _, row := range rows[1:] {
		jobs[row[0]] = true
		times, err := strconv.ParseFloat(row[6], 64)
		if err != nil {
			t.Fatal(err)
		}
		start, end := parse(t, row[3]), parse(t, row[5])
		work += times * end.Sub(start).Hours()
		for from := start; from.Before(end); {
			to := from.Truncate(time.Hour).Add(time.Hour)
			if to.After(end) {
				to = end
			}
			emitted += times * intensity(int(from.Sub(parse(t, "2021-07-01T00:00:00Z")).Hours())) * to.Sub(from).Hours()
			from = to
		}
	}
	policy := got.Policies[0]
	if want := emitted / float64(len(jobs)) / 12; math.Abs(policy.Intensity-want) > 1e-6 {
		t.Errorf("%v gCO2eq/kWh, by the widths %v", policy.Intensity, want)
	}
	if want := 12 * float64(len(jobs)); math.Abs(work-want) > 1e-3*want {
		t.Errorf("%v hours of work at the least width, want %v", work, want)
	}
	if *policy.MeanPods <= 2 || *policy.MeanPods > 7 {
		t.Errorf("%v pods at once on average", *policy.MeanPods)
	}
}
