package main

import (
	"encoding/csv"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/replay"
)

func TestSimulatePausesJobs(t *testing.T) {
	code, stdout, stderr := call(t, asking(), "simulate", "--provider", "mock", "--zone", "DE", "--since", "2026-06-01", "--until", "2026-08-01", "--durations", "4h,12h",
		"--slacks", "12h,24h", "--every", "6h", "--interruptible", "--restart-cost", "10m", "--segments", "3", "--min-run", "45m", "--cells")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	wantGolden(t, "simulate-interruptible", stdout)
}

// TestRunsAddUpToTheTable computes what paused jobs emitted from the file of the runs alone.
func TestRunsAddUpToTheTable(t *testing.T) {
	dir := t.TempDir()
	starts := filepath.Join(dir, "starts.csv")
	code, stdout, stderr := call(t, nil, "simulate", "--actual", writeGrid(t), "--durations", "12h", "--slacks", "24h", "--interruptible", "--restart-cost", "10m",
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
	jobs, emitted := map[string]bool{}, 0.0
	for _, row := range rows[1:] {
		jobs[row[0]] = true
		for minute := parse(t, row[3]); minute.Before(parse(t, row[5])); minute = minute.Add(time.Minute) {
			emitted += intensity(int(minute.Sub(parse(t, "2021-07-01T00:00:00Z")).Hours())) / 60
		}
	}
	policy := got.Policies[0]
	if want := emitted / float64(len(jobs)) / 12; math.Abs(policy.Intensity-want) > 1e-6 {
		t.Errorf("%v gCO2eq/kWh, by the runs %v", policy.Intensity, want)
	}
	if want := float64(len(rows)-1) / float64(len(jobs)); *policy.MeanRuns != want || want <= 1 {
		t.Errorf("%v runs of a job, by the file %v", *policy.MeanRuns, want)
	}
}
