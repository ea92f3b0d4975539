package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"image/png"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/answer"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/cluster"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/replay"
	"github.com/gridlatch/gridlatch/plan"
)

var update = flag.Bool("update", false, "write what is printed to testdata")

const evening = "2026-11-21T21:14:00Z"

// call runs a command line in an environment of its own, at a fixed time.
func call(t *testing.T, change func(*env), args ...string) (code int, stdout, stderr string) {
	t.Helper()
	now, err := time.Parse(time.RFC3339, evening)
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	e := env{
		stdin: strings.NewReader(""), stdout: screen.New(&out, false), stderr: screen.New(&errs, false), width: 80,
		now: func() time.Time { return now },
		cluster: func(connection) (*rest.Config, string, error) {
			return nil, "", errors.New("there is none in this test")
		},
		dial:   cluster.Dial,
		getenv: func(string) string { return "" },
	}
	if change != nil {
		change(&e)
	}
	code = run(t.Context(), e, args)
	return code, out.String(), errs.String()
}

func TestPlanPrints(t *testing.T) {
	tests := map[string]struct {
		args   []string
		change func(*env)
	}{
		"waits":            {args: []string{"testdata/forecast.json", "--duration", "2h", "--deadline", "12h"}},
		"wall-clock":       {args: []string{"testdata/forecast.json", "--duration", "2h", "--deadline", "06:00 Europe/Berlin"}},
		"defaults":         {args: []string{"testdata/forecast.json"}},
		"configmap":        {args: []string{"testdata/configmap.yaml", "--duration", "4h"}},
		"location":         {args: []string{"--forecast", "testdata/two-locations.json", "--location", "PJM"}},
		"threshold":        {args: []string{"testdata/forecast.json", "--threshold", "300"}},
		"at-once":          {args: []string{"testdata/forecast.json", "--now", "2026-11-22T09:00:00Z", "--deadline", "8h"}},
		"too-late":         {args: []string{"testdata/forecast.json", "--duration", "2h", "--deadline", "1h"}},
		"dear-wait":        {args: []string{"testdata/forecast.json", "--wait-price", "20"}},
		"narrow":           {args: []string{"testdata/forecast.json"}, change: func(e *env) { e.width = 40 }},
		"wide-and-colored": {args: []string{"testdata/forecast.json"}, change: func(e *env) { e.width, e.stdout = 140, screen.New(e.stdout.Raw(), true) }},
		"json":             {args: []string{"testdata/configmap.yaml", "--duration", "2h", "--deadline", "12h", "-o", "json"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, tt.change, append([]string{"plan"}, tt.args...)...)
			if code != 0 || stderr != "" {
				t.Fatalf("exit code %d, stderr %s", code, stderr)
			}
			wantGolden(t, name, stdout)
		})
	}
}

// wantGolden compares an output with a file in testdata.
func wantGolden(t *testing.T, name, stdout string) {
	t.Helper()
	golden := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(golden, []byte(stdout), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), stdout); diff != "" {
		t.Errorf("%s (-want +got):\n%s", golden, diff)
	}
}

func TestPlanReadsStandardInput(t *testing.T) {
	data, err := os.ReadFile("testdata/configmap.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, fromFile, _ := call(t, nil, "plan", "testdata/configmap.yaml")
	code, fromInput, stderr := call(t, func(e *env) { e.stdin = bytes.NewReader(data) }, "plan", "-")
	if code != 0 {
		t.Fatal(stderr)
	}
	if diff := cmp.Diff(fromFile, fromInput); diff != "" {
		t.Errorf("from a file and from standard input (-file +input):\n%s", diff)
	}
}

func TestMistakesAreExplained(t *testing.T) {
	grid := writeGrid(t)
	tests := map[string]struct {
		args []string
		code int
		want string
	}{
		"an unknown command":      {[]string{"pln"}, 2, `unknown argument "pln" (did you mean plan?)`},
		"an unknown flag":         {[]string{"plan", "--bad"}, 2, `unknown flag: --bad (see: kubectl gridlatch plan --help)`},
		"two files":               {[]string{"plan", "a", "b"}, 2, `unknown argument "b"`},
		"a bad duration":          {[]string{"plan", "x", "--duration", "2"}, 2, `--duration "2": want a duration such as 90m, 8h, 1d12h or PT8H`},
		"a bad deadline":          {[]string{"plan", "x", "--deadline", "06:00 Nowhere"}, 2, `--deadline "06:00 Nowhere": zone "Nowhere" is not known`},
		"a bad threshold":         {[]string{"plan", "x", "--threshold", "-1"}, 2, `--threshold "-1": want gCO2eq/kWh as a number from 0 to 1000000, such as 200`},
		"a bad moment":            {[]string{"plan", "x", "--now", "noon"}, 2, `--now "noon": want RFC 3339, such as 2026-11-21T21:00:00Z`},
		"a bad percentage":        {[]string{"plan", "x", "--min-gain", "101"}, 2, `--min-gain "101": want percent from 0 to 100`},
		"a bad format":            {[]string{"plan", "x", "-o", "yaml"}, 2, `--output "yaml": want json, or nothing for text`},
		"a flag of the cluster":   {[]string{"plan", "x", "--policy", "p"}, 2, `--policy is for reading from the cluster: want it without FORECAST`},
		"a missing file":          {[]string{"plan", "nowhere.json"}, 1, `open nowhere.json: no such file or directory`},
		"broken JSON":             {[]string{"plan", "testdata/broken.json"}, 1, `testdata/broken.json: line 3, column 32: `},
		"no ConfigMap":            {[]string{"plan", "main.go"}, 1, `main.go: `},
		"a missing key":           {[]string{"plan", "testdata/configmap.yaml", "--key", "x"}, 1, `testdata/configmap.yaml: key "x" is missing, there are: ["data" "lastHeartbeatTime"]`},
		"several locations":       {[]string{"plan", "testdata/two-locations.json"}, 2, `--location is needed: the forecast has several locations, want one of: CAISO_NORTH, PJM`},
		"an unknown location":     {[]string{"plan", "testdata/two-locations.json", "--location", "X"}, 2, `--location "X": the forecast has no such location, want one of: CAISO_NORTH, PJM`},
		"a forecast that is over": {[]string{"plan", "testdata/forecast.json", "--now", "2027-01-01T00:00:00Z"}, 1, `the forecast ended at 2026-11-23 19:00 UTC, and now is 2027-01-01 00:00 UTC; to plan as of the beginning of the forecast: --now 2026-11-21T19:00:00Z`},
		"no cluster":              {[]string{"plan"}, 1, `no FORECAST is given: find the cluster: there is none in this test`},
		"no actuals":              {[]string{"simulate"}, 2, `want --actual FILE, with the columns timestamp,intensity; or --provider and --zone; or --region`},
		"a bad policy":            {[]string{"simulate", "--actual", grid, "--policy", "best"}, 2, `--policy: unknown policy "best": want gridlatch,`},
		"a bad history":           {[]string{"simulate", "--actual", grid, "--history", "-1"}, 2, `--history "-1": want days from 0 to 3660`},
		"a bad ceiling":           {[]string{"simulate", "--actual", grid, "--ceiling", "many"}, 2, `--ceiling "many": buckets[0]: "many": want a ceiling from 0 to 2147483647 pods, such as 437=110 or 30`},
		"a bad multiple":          {[]string{"simulate", "--actual", grid, "--ceiling", "-3x"}, 2, `--ceiling "-3x": want a multiple of the mean above 0 and up to 1000, such as 3x`},
		"a bad weather delay":     {[]string{"simulate", "--actual", grid, "--weather-delay", "soon"}, 2, `--weather-delay "soon": `},
		"no weather":              {[]string{"simulate", "--actual", grid, "--weather", grid}, 1, `grid.csv, line 1: no column "issued": want the columns issued,timestamp[,wind_speed_10m]`},
		"a bad restart cost":      {[]string{"simulate", "--actual", grid, "--interruptible", "--restart-cost", "-1h"}, 2, `--restart-cost "-1h": want`},
		"a bad least run":         {[]string{"simulate", "--actual", grid, "--interruptible", "--min-run", "soon"}, 2, `--min-run "soon": want`},
		"too many segments":       {[]string{"simulate", "--actual", grid, "--interruptible", "--segments", "4"}, 2, `--segments "4": want 2 or 3`},
		"no range of pods":        {[]string{"simulate", "--actual", grid, "--parallelism", "4"}, 2, `--parallelism "4": want the least and the most pods, from 1 to 100000, such as 2-40`},
		"a growing speedup":       {[]string{"simulate", "--actual", grid, "--parallelism", "1-4", "--speedup", "1=1,2=3"}, 2, `want a gain that does not grow`},
		"a speedup of wide work":  {[]string{"simulate", "--actual", grid, "--parallelism", "2-4", "--speedup", "3=3"}, 2, `--speedup "3=3": want a first width of 1 or of the least, 2`},
		"a speedup of nothing":    {[]string{"simulate", "--actual", grid, "--speedup", "1=1"}, 2, `--speedup is for jobs that may run wider: want it with --parallelism`},
		"pauses of wide work":     {[]string{"simulate", "--actual", grid, "--parallelism", "1-4", "--interruptible"}, 2, `--parallelism and --interruptible: want one of them`},
		"a ceiling of wide work":  {[]string{"simulate", "--actual", grid, "--parallelism", "1-4", "--ceiling", "3x"}, 2, `--parallelism and --ceiling: want one of them`},
		"pauses of nothing":       {[]string{"simulate", "--actual", grid, "--segments", "2"}, 2, `--segments is for jobs that can be paused: want it with --interruptible`},
		"a bad plot":              {[]string{"simulate", "--actual", grid, "--plot", "a.pdf"}, 2, `--plot "a.pdf": want a file whose name ends in .png or .svg`},
		"jobs made up and given":  {[]string{"simulate", "--actual", grid, "--jobs", "x", "--every", "1h"}, 2, `--every is for jobs that are made up: want it without --jobs`},
		"from after to":           {[]string{"simulate", "--actual", grid, "--from", "2021-07-20", "--to", "2021-07-10"}, 2, `--from 2021-07-20 00:00 UTC must be before --to 2021-07-10 00:00 UTC`},
		"too many jobs":           {[]string{"simulate", "--actual", grid, "--every", "1ms"}, 2, `--every 1ms: 20736000000 jobs: want`},
		"a slack too long":        {[]string{"simulate", "--actual", grid, "--slacks", "9w"}, 1, `none of`},
		"bad actuals":             {[]string{"simulate", "--actual", "testdata/forecast.json"}, 1, `testdata/forecast.json, line 1: no column "timestamp": want the columns timestamp,intensity`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, nil, tt.args...)
			if code != tt.code || stdout != "" {
				t.Errorf("exit code %d, want %d; stdout %q", code, tt.code, stdout)
			}
			if !strings.HasPrefix(stderr, "gridlatch: ") || !strings.Contains(stderr, tt.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("stderr\n%s, want one line with\n%s", stderr, tt.want)
			}
		})
	}
}

func TestBadElementsCostThemselvesAndAreToldOf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f.json")
	text := `[{"location":"A","timestamp":"2026-11-21T21:00:00Z","duration":600,"value":100},{"location":"A","timestamp":"x","duration":60,"value":1}]`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := call(t, nil, "plan", file)
	if code != 0 || !strings.HasPrefix(stdout, "Start at once") || !strings.Contains(stderr, "warning: "+file+": 1 of 2 elements is bad: element 1: timestamp") {
		t.Errorf("exit code %d, stdout %s, stderr %s", code, stdout, stderr)
	}
}

// intensity returns the intensity of an invented grid in an hour: dirty in the evening, clean at noon.
func intensity(hour int) float64 {
	return math.Round(300 + 120*math.Cos(float64(hour%24-19)/24*2*math.Pi) + 40*math.Sin(float64(hour)/31))
}

// writeGrid writes 40 days of the invented grid into a CSV, and returns its path.
func writeGrid(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	text.WriteString("timestamp,intensity\n")
	for h := range 40 * 24 {
		fmt.Fprintf(&text, "%s,%g\n", time.Date(2021, 7, 1, h, 0, 0, 0, time.UTC).Format(time.RFC3339), intensity(h))
	}
	file := filepath.Join(t.TempDir(), "grid.csv")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestStartsAddUpToTheTable computes the savings from the starts alone.
func TestStartsAddUpToTheTable(t *testing.T) {
	starts := filepath.Join(t.TempDir(), "starts.csv")
	args := []string{
		"simulate", "--actual", writeGrid(t), "--durations", "1h,4h", "--slacks", "6h,24h",
		"--policy", "gridlatch,oracle", "--policy", "threshold=250", "--starts", starts, "--cells", "-o", "json",
	}
	code, stdout, stderr := call(t, nil, args...)
	if code != 0 {
		t.Fatal(stderr)
	}
	var got replay.Report
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	want := savings(t, starts)
	if len(got.Policies) != 3 || len(want) != 12 {
		t.Fatalf("%d policies and %d cells, want 3 and 12", len(got.Policies), len(want))
	}
	for _, policy := range got.Policies {
		sum := 0.0
		for _, cell := range policy.Cells {
			saving := want[strings.Join([]string{policy.Policy, cell.Duration, cell.Slack}, " ")]
			if math.Abs(cell.SavingPercent-saving) > 1e-6 {
				t.Errorf("%s, %s with %s: saved %v %%, by its starts %v %%", policy.Policy, cell.Duration, cell.Slack, cell.SavingPercent, saving)
			}
			sum += saving
		}
		if math.Abs(policy.SavingPercent-sum/4) > 1e-6 {
			t.Errorf("%s: saved %v %%, by its starts %v %%", policy.Policy, policy.SavingPercent, sum/4)
		}
	}
	if first := got.Policies[0]; first.SavingPercent < 10 || *first.OraclePercent < 90 {
		t.Errorf("gridlatch saved %v %%, %v %% of the oracle, on a grid that repeats itself", first.SavingPercent, *first.OraclePercent)
	}
}

// savings returns percentages by policy, duration and slack. All starts are on the hour.
func savings(t *testing.T, path string) map[string]float64 {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	emitted, atOnce := map[string]float64{}, map[string]float64{}
	for _, row := range rows[1:] {
		arrival, start := parse(t, row[0]), parse(t, row[3])
		duration, err := plan.ParseDuration(row[1])
		if err != nil {
			t.Fatal(err)
		}
		cell := strings.Join([]string{row[4], row[1], row[2]}, " ")
		for h := range int(duration.Hours()) {
			emitted[cell] += intensity(int(start.Sub(parse(t, "2021-07-01T00:00:00Z")).Hours()) + h)
			atOnce[cell] += intensity(int(arrival.Sub(parse(t, "2021-07-01T00:00:00Z")).Hours()) + h)
		}
	}
	saved := map[string]float64{}
	for cell := range emitted {
		saved[cell] = 100 * (1 - emitted[cell]/atOnce[cell])
	}
	return saved
}

func parse(t *testing.T, text string) time.Time {
	t.Helper()
	instant, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return instant
}

func TestPlotsAreImages(t *testing.T) {
	grid, dir := writeGrid(t), t.TempDir()
	for _, name := range []string{"p.png", "p.SVG"} {
		path := filepath.Join(dir, name)
		if code, _, stderr := call(t, nil, "simulate", "--actual", grid, "--every", "6h", "--plot", path); code != 0 {
			t.Fatal(stderr)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "png") {
			image, err := png.Decode(bytes.NewReader(data))
			if err != nil || image.Bounds().Dx() < 1000 {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err := wellFormed(data); err != nil || !strings.Contains(string(data), "carbon intensity") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func wellFormed(data []byte) error {
	decoder := xml.NewDecoder(bytes.NewReader(data))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func TestSimulateSaysWhatItDid(t *testing.T) {
	grid, dir := writeGrid(t), t.TempDir()
	jobs := filepath.Join(dir, "jobs.csv")
	if err := os.WriteFile(jobs, []byte("arrival,duration,slack,weight\n2021-07-30T18:00:00Z,2h,18h,3\n2021-08-09T20:00:00Z,2h,18h,1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := call(t, nil, "simulate", "--actual", grid, "--jobs", jobs, "--ceiling", "2", "--policy", "gridlatch,greedy")
	if code != 0 {
		t.Fatal(stderr)
	}
	for _, want := range []string{
		"slots of 1h from 2021-07-01 00:00 UTC to 2021-08-10 00:00 UTC", "none, so that the model has the history only",
		"1 job from 2021-07-30 18:00 UTC to 2021-08-10 00:00 UTC, when the first job arrives; left out: 1 could run where no intensity is known",
		"wait price 0.1 %/h, min gain 1 %, caution 0.25, history 28 days", "2 at once", "MOST AT ONCE", "Gridlatch saved",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
}

func TestAnInterruptEndsASimulation(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	code := run(ctx, env{stdout: screen.New(&out, false), stderr: screen.New(&errs, false), now: time.Now, width: 80}, []string{"simulate", "--actual", writeGrid(t)})
	if code != 1 || errs.String() != "interrupted\n" {
		t.Errorf("exit code %d, stderr %q", code, errs.String())
	}
}

// TestPlanReadsTheCluster plans by the answers of an API server.
func TestPlanReadsTheCluster(t *testing.T) {
	array, err := os.ReadFile("testdata/two-locations.json")
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]any{
		"/api": map[string]any{"kind": "APIVersions", "versions": []string{"v1"}},
		"/apis": map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": []any{map[string]any{
			"name": "gridlatch.dev", "versions": []any{map[string]any{"groupVersion": "gridlatch.dev/v1alpha1", "version": "v1alpha1"}},
		}}},
		"/api/v1":                      resources("v1", "configmaps", "ConfigMap", true),
		"/apis/gridlatch.dev/v1alpha1": resources("gridlatch.dev/v1alpha1", "carbonpolicies", "CarbonPolicy", false),
		"/apis/gridlatch.dev/v1alpha1/carbonpolicies/batch": map[string]any{
			"apiVersion": "gridlatch.dev/v1alpha1", "kind": "CarbonPolicy", "metadata": map[string]any{"name": "batch"},
			"spec": map[string]any{
				"forecast":  map[string]any{"configMap": map[string]any{"namespace": "grid", "name": "intensity", "key": "all"}, "maxAge": "24h"},
				"locations": []any{map[string]any{"name": "PJM"}}, "maxDelay": "12h", "defaultDuration": "3h",
				"minGainPercent": "1", "waitPricePercentPerHour": "0.1",
			},
		},
		"/api/v1/namespaces/grid/configmaps/intensity": map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap",
			"metadata":   map[string]any{"name": "intensity", "namespace": "grid", "creationTimestamp": "2026-11-21T19:00:00Z"},
			"binaryData": map[string]any{"all": array},
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.URL.Path]
		w.Header().Set("Content-Type", "application/json")
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			answer = map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found: " + r.URL.Path}
		}
		_ = json.NewEncoder(w).Encode(answer) // a broken answer fails the test
	}))
	defer server.Close()
	connect := func(e *env) {
		e.cluster = func(connection) (*rest.Config, string, error) { return &rest.Config{Host: server.URL}, "default", nil }
	}
	code, stdout, stderr := call(t, connect, "plan", "--policy", "batch", "-o", "json")
	if code != 0 {
		t.Fatal(stderr)
	}
	var got answer.Report
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	if got.Location != "PJM" || got.Duration != "3h" || !got.LatestStart.Equal(parse(t, evening).Add(12*time.Hour)) || !got.Waits || got.Forecast.Source != "ConfigMap grid/intensity/all" {
		t.Errorf("planned %s", stdout)
	}
	if code, _, stderr := call(t, connect, "plan", "--policy", "nobody"); code != 1 || !strings.Contains(stderr, "get CarbonPolicy nobody") {
		t.Errorf("without the policy: exit code %d, stderr %s", code, stderr)
	}
	if code, _, stderr := call(t, connect, "plan"); code != 1 || !strings.Contains(stderr, "ConfigMap kube-system/carbon-intensity does not exist, and no provider is named") {
		t.Errorf("without the default ConfigMap: exit code %d, stderr %s", code, stderr)
	}
}

// resources returns what discovery says of one kind.
func resources(version, plural, kind string, namespaced bool) map[string]any {
	return map[string]any{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": []any{
		map[string]any{"name": plural, "singularName": strings.ToLower(kind), "namespaced": namespaced, "kind": kind, "verbs": []string{"get", "list"}},
	}}
}
