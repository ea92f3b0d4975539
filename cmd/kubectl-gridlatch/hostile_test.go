package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/cluster"
)

// hostileText clears the screen, sets its title, forges lines and columns, turns the direction of text,
// and is long.
var hostileText = "evil\x1b[2J\x1b]0;title\a\r\nFORGED CarbonPolicy default\n\tFORGED\x1b[8m\x7f\u0085\u009b2J\u202e\u2066\u200b\u2028FORGED\u2029%s%d" +
	strings.Repeat("!", 4000)

// forger is a client of a cluster in which each text is hostile that can be.
type forger struct {
	client.Client
	spares func(key string) bool
}

func (f forger) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	if err := f.Client.Get(ctx, key, o, options...); err != nil {
		return err
	}
	return f.forge(o)
}

func (f forger) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	if err := f.Client.List(ctx, list, options...); err != nil {
		return err
	}
	return f.forge(list)
}

func (f forger) forge(o runtime.Object) error {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return err
	}
	f.fields(fields)
	return runtime.DefaultUnstructuredConverter.FromUnstructured(fields, o)
}

func (f forger) fields(fields map[string]any) {
	for key, value := range fields {
		if text, ok := value.(string); ok && !f.spares(key) && !typed(key, text) {
			fields[key] = text + hostileText
		}
		f.inside(value)
	}
}

func (f forger) inside(value any) {
	switch value := value.(type) {
	case map[string]any:
		f.fields(value)
	case []any:
		for i := range value {
			if text, ok := value[i].(string); ok {
				value[i] = text + hostileText
			}
			f.inside(value[i])
		}
	}
}

// typed reports whether an API server refuses any other text for a key, or the commands would look at
// nothing with another text.
func typed(key, text string) bool {
	_, notTime := time.Parse(time.RFC3339, text)
	_, notQuantity := resource.ParseQuantity(text)
	return notTime == nil || notQuantity == nil ||
		slices.Contains([]string{"kind", "apiVersion", "uid", "continue", "data", v1alpha1.StateLabel, v1alpha1.DelayTolerantAnnotation, "type", "status", "phase"}, key)
}

// sparing returns a function that reports whether a key is one of some keys.
func sparing(keys ...string) func(string) bool {
	return func(key string) bool { return slices.Contains(keys, key) }
}

// angry is a client of a cluster that answers with hostile errors.
type angry struct {
	client.Client
	reads error
}

func (a angry) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	if a.reads != nil {
		return a.reads
	}
	return a.Client.Get(ctx, key, o, options...)
}

func (a angry) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	if a.reads != nil {
		return a.reads
	}
	return a.Client.List(ctx, list, options...)
}

func (angry) Patch(context.Context, client.Object, client.Patch, ...client.PatchOption) error {
	return apierrors.NewInternalError(errors.New(hostileText))
}

// everyObject returns objects for each line of output.
func everyObject(t *testing.T) []client.Object {
	t.Helper()
	policy := v1alpha1.Default()
	policy.Name = "nightly"
	now, figure := metav1.NewTime(parse(t, "2026-11-21T21:00:00Z")), int32(401)
	policy.Status = v1alpha1.CarbonPolicyStatus{
		Locations: []v1alpha1.LocationStatus{{
			Name: "CAISO_NORTH", Intensity: &figure, ForecastIssued: &now, ForecastUntil: &now, Bucket: "<=437", Ceiling: &figure, Running: &figure,
		}},
		Conditions: []metav1.Condition{{Type: v1alpha1.ConditionForecastUsable, Status: metav1.ConditionFalse, Message: "work starts at once"}},
	}
	objects := slices.Concat(twoLocations(t), workInEachState(), hostileLedger(t), nodePools(), allNodeGroups(), longWork(), []client.Object{forgedNodePool(t), forgedNodeGroups(t)})
	forged := heldAnnotations(v1alpha1.PolicyAnnotation, hostileText, v1alpha1.ReasonAnnotation, hostileText, v1alpha1.DeadlineAnnotation, hostileText, v1alpha1.HeldByAnnotation, hostileText, v1alpha1.PlannedLocationAnnotation, hostileText)
	return append(append(objects, overduePods()...), policy, podOf("orphan", v1alpha1.StateHeld, heldAnnotations(v1alpha1.PolicyAnnotation, "gone"), nil),
		podOf("forged", v1alpha1.StateHeld, forged, nil), jobOf("forged", v1alpha1.StateHeld, forged, 1))
}

// noCluster is the name of the cluster that cannot be found.
const noCluster = "there is none"

// hostileClusters returns hostile clusters by their names.
func hostileClusters(t *testing.T) map[string]func(*env) {
	t.Helper()
	deep := sparing("name", "namespace", "key", "app", v1alpha1.PolicyAnnotation, v1alpha1.HeldByAnnotation, "maxAge", "maxDelay", "defaultDuration", "grid", v1alpha1.LocationAnnotation,
		v1alpha1.PlannedLocationAnnotation, v1alpha1.DurationAnnotation, v1alpha1.DeadlineAnnotation)
	forbidden := apierrors.NewForbidden(v1alpha1.GroupVersion().WithResource("x"+hostileText).GroupResource(), hostileText, errors.New(hostileText))
	all := map[string]func(*env){
		noCluster: func(e *env) {
			e.cluster = func(connection) (*rest.Config, string, error) { return nil, "", errors.New(hostileText) }
		},
	}
	for name, wrap := range map[string]func(client.Client) client.Client{
		"all that is looked at":     func(c client.Client) client.Client { return forger{c, sparing()} },
		"all but names":             func(c client.Client) client.Client { return forger{c, sparing("name", "namespace", "app")} },
		"all but what is planned":   func(c client.Client) client.Client { return forger{c, deep} },
		"what writes are told":      func(c client.Client) client.Client { return angry{Client: c} },
		"what reads are told":       func(c client.Client) client.Client { return angry{c, apierrors.NewBadRequest(hostileText)} },
		"what reads are forbidden":  func(c client.Client) client.Client { return angry{c, forbidden} },
		"only what the test forges": func(c client.Client) client.Client { return c },
	} {
		all[name] = func(e *env) {
			connect, c := fakeCluster(t, everyObject(t)...)
			connect(e)
			e.dial = func(*rest.Config) (client.Client, error) { return wrap(c), nil }
		}
	}
	return all
}

// files are the paths of files with hostile names and contents.
// provider is the address of a hostile provider.
type files struct {
	forecast, several, elements, manifest, actual, header, cells, jobs, missing, plot, ledger string
	provider                                                                                  string
}

func hostileFiles(t *testing.T) files {
	t.Helper()
	dir := t.TempDir()
	name := strings.ReplaceAll(hostileText[:len(hostileText)-4000], "/", "")
	write := func(file, text string) string {
		path := filepath.Join(dir, name+file)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	read := func(path string) string {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	quoted, err := json.Marshal(hostileText)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Trim(string(quoted), `"`)
	return files{
		forecast: write("one", strings.ReplaceAll(read("testdata/forecast.json"), "CAISO_NORTH", text)),
		several:  write("several", strings.ReplaceAll(read("testdata/two-locations.json"), "PJM", text)),
		elements: write("elements", `[{"location":"A","timestamp":"2026-11-21T21:00:00Z","duration":600,"value":100},{"location":`+string(quoted)+`,"timestamp":`+string(quoted)+`,"duration":60,"value":1}]`),
		manifest: write("manifest", "apiVersion: v1\nkind: "+string(quoted)+"\ndata: {"+string(quoted)+": x}\n"),
		actual:   write("actual", read(writeGrid(t))),
		header:   write("header", "\""+strings.ReplaceAll(hostileText, "\r", "")+"\",intensity\n"),
		cells:    write("cells", "timestamp,intensity\n\""+hostileText+"\",\""+hostileText+"\"\n"),
		jobs:     write("jobs", "arrival,duration,slack\n2021-07-30T18:00:00Z,\""+hostileText+"\",18h\n"),
		missing:  filepath.Join(dir, "missing"+name, "x"),
		plot:     filepath.Join(dir, name+".svg"),
		ledger:   writeDump(t, true, hostileLedger(t)),
		provider: hostileProvider(t, quoted),
	}
}

// hostileProvider returns the address of a provider that has some values among hostile ones, or
// below /error only an error.
func hostileProvider(t *testing.T, quoted []byte) string {
	t.Helper()
	now, hostile := parse(t, evening), json.RawMessage(quoted)
	whole := energyCharts(now)
	return serveGrid(t, func(w http.ResponseWriter, r *http.Request) any {
		switch path := r.URL.Path; {
		case strings.HasPrefix(path, "/error"):
			w.WriteHeader(http.StatusBadRequest)
			return map[string]any{"message": hostile}
		case strings.HasPrefix(path, "/public_power_forecast"):
			return map[string]any{"unix_seconds": []any{hostile, now.Unix()}, "forecast_values": []any{hostile, 5}}
		case strings.HasPrefix(path, "/forecast"): // of Elexon
			row := map[string]any{"startTime": evening, "publishTime": hostile, "psrType": "Solar", "quantity": 5}
			return map[string]any{"data": []any{hostile, row, map[string]any{"startTime": evening, "psrType": "Solar", "quantity": 5}}}
		}
		document := whole(w, r).(map[string]any)
		values, err := json.Marshal(document["co2eq"])
		if err != nil {
			t.Error(err)
		}
		text := string(quoted)
		document["co2eq"] = json.RawMessage(strings.ReplaceAll(string(values), "[", "["+text+","))
		document["unix_seconds"] = append([]any{json.RawMessage(text)}, anyOf(document["unix_seconds"].([]int64))...)
		document["co2eq_forecast"] = append([]any{json.RawMessage(text)}, anyOf(document["co2eq_forecast"].([]*float64))...)
		return document
	}).URL
}

func anyOf[T any](values []T) []any {
	all := make([]any, len(values))
	for i, value := range values {
		all[i] = value
	}
	return all
}

// commandLines returns arguments for each command.
func commandLines(f files) map[string][][]string {
	return map[string][][]string{
		"explain": {
			{"job", "nightly-report", "--signals"}, {"job", "nightly-report", "-o", "json"}, {"job", "nightly-report", "-o", "yaml"},
			{"job/bounded"}, {"pod", "nightly-report-b"}, {"pod/started"}, {"ordinary"}, {"unseen"}, {"managed"}, {"pod/late-1"}, {"job/forged"},
			{"job/waiting"}, {"job/paused"}, {"job/again", "-o", "json"}, {"job/running"}, {"job/done-soon"}, {"job/patient"}, {"job/narrow"}, {"job/taken"},
			{"pod/forged"}, {"pod/forged", "-o", "yaml"}, {"job", hostileText}, {hostileText}, {hostileText + "/x"}, {"x", "-o", hostileText}, {"x", "--" + hostileText}, {"x", "-n", hostileText},
		},
		"status": {nil, {"-n", "batch"}, {"-n", hostileText}, {"-o", "json"}, {"-o", "yaml"}, {hostileText}, {"--gridlatch-namespace", hostileText}},
		"release": {
			{"job/nightly-report", "pod/backup", "job/bounded", "pod/started", "job/nobody"}, {"pod", "nightly-report-a"}, {"--all", "-A"},
			{"--all", "-n", hostileText}, {hostileText, "job/" + hostileText}, {"forged"},
		},
		"hold": {
			{"ordinary"}, {"working", "asleep", "done", "bounded", "managed", "pod/backup"}, {"working", "--force"}, {hostileText}, {"ordinary", "--policy", hostileText},
			{"ordinary", "--deadline", hostileText}, {"ordinary", "--gridlatch-namespace", hostileText},
		},
		"plan": {
			nil, {"-o", "json"}, {"--policy", hostileText}, {"--location", hostileText}, {f.forecast}, {f.forecast, "-o", "json"}, {f.several}, {f.several, "--location", hostileText},
			{f.several, "--location", hostileText + "x"}, {f.elements}, {f.manifest}, {f.missing}, {f.forecast, "--deadline", hostileText}, {"testdata/configmap.yaml", "--key", hostileText},
			{"--provider", "energy-charts", "--zone", "DE", "--base-url", f.provider}, {"--provider", "energy-charts", "--zone", "DE", "--base-url", f.provider + "/error"},
			{"--provider", "mock", "--zone", hostileText}, {"--provider", "mock", "--zone", hostileText, "-o", "json"},
		},
		"simulate": {
			{"--actual", f.actual, "--cells", "--plot", f.plot}, {"--actual", f.actual, "-o", "json"}, {"--actual", f.header}, {"--actual", f.cells}, {"--actual", f.missing},
			{"--actual", f.actual, "--jobs", f.jobs}, {"--actual", f.actual, "--policy", hostileText}, {"--actual", f.actual, "--starts", f.missing}, {"--actual", f.actual, "--forecast", f.cells},
			{"--actual", f.actual, "--weather", f.cells}, {"--actual", f.actual, "--weather", f.missing}, {"--actual", f.actual, "--weather-delay", hostileText},
			{"--actual", f.actual, "--durations", hostileText}, {"--actual", f.actual, "--ceiling", hostileText}, {"--actual", f.actual, "--plot", hostileText},
			{"--actual", f.actual, "--interruptible", "--restart-cost", hostileText}, {"--actual", f.actual, "--interruptible", "--jobs", f.jobs, "--plot", f.plot},
			{"--actual", f.actual, "--parallelism", hostileText}, {"--actual", f.actual, "--parallelism", "1-9", "--speedup", hostileText},
			{"--actual", f.actual, "--parallelism", "1-100000", "--jobs", f.jobs, "--plot", f.plot},
			{"--provider", "energy-charts", "--zone", "DE", "--since", "20d", "--base-url", f.provider}, {"--provider", "mock", "--zone", hostileText, "--since", "20d"},
		},
		"fetch": {
			{"--provider", "mock", "--zone", hostileText, "--since", "3h"}, {"--provider", "mock", "--zone", hostileText, "--since", "3h", "-o", "json"},
			{"--provider", "energy-charts", "--zone", "DE", "--since", "3h", "--base-url", f.provider},
			{"--provider", "energy-charts", "--zone", "DE", "--forecast", "--base-url", f.provider, "-o", "json"},
			{"--provider", "energy-charts", "--zone", hostileText, "--base-url", f.provider + "/error"},
			{"--provider", "energy-charts", "--zone", "DE", "--weather", "met-norway", "--base-url", f.provider}, {"--provider", "energy-charts", "--zone", "DE", "--weather", hostileText},
			{"--provider", "energy-charts", "--zone", "DE", "--weather", "open-meteo", "--base-url", f.provider + "/error"}, {"--weather", "met-norway", "--points", hostileText},
			{"--provider", "energy-charts", "--zone", hostileText, "--weather", "met-norway"},
			{"--weather", "energy-charts", "--zone", "DE", "--base-url", f.provider}, {"--weather", "energy-charts", "--zone", "DE", "--base-url", f.provider + "/error"},
			{"--weather", "elexon", "--zone", "GB", "--base-url", f.provider},
			{"--weather", "energinet", "--zone", hostileText},
			{"--provider", hostileText}, {"--provider", "mock", "--region", hostileText}, {"--region", hostileText}, {"--provider", "mock", "--zone", "X", "--since", hostileText},
			{"--provider", "energy-charts", "--zone", "X", "--base-url", hostileText}, {"--provider", "watttime", "--zone", "X", "--key-file", hostileText},
			{"--provider", "mock", "--zone", "X", "--file", f.missing}, {"--provider", "mock", "--zone", "X", "-o", hostileText}, {"--provider", "mock", "--zone", "X", "--kind", hostileText},
		},
		"report": {
			nil, {"-n", "batch", "--by", "namespace,policy,location,owner,day,month,source,mode"}, {"--rows"}, {"-o", "json", "--rows"}, {"-o", "csv"}, {"-o", "csv", "--rows"},
			{"-o", "markdown", "--rows", "--by", "owner"}, {"-n", hostileText}, {"--by", hostileText}, {"--since", hostileText}, {"--until", hostileText}, {"-o", hostileText},
			{"--ledger", f.missing}, {"--ledger", f.ledger}, {"--ledger", f.ledger, "--rows", "-o", "json"}, {"--ledger", f.manifest}, {"--html", f.missing}, {"--gridlatch-namespace", hostileText},
		},
		"version":    {nil, {"-o", "json"}, {hostileText}, {"-o", hostileText}},
		"zones":      {nil, {"DE", "-o", "json"}, {"DE", "-o", "yaml"}, {hostileText}, {"-o", hostileText}},
		"completion": {{"bash"}, {"zsh"}, {"fish"}, {"powershell"}, {hostileText}},
		"help":       {nil, {hostileText}},
		"": {
			nil, {hostileText}, {"--" + hostileText}, {"__complete", "explain", ""}, {"__complete", "release", "pod", ""}, {"__complete", "hold", ""},
			{"__complete", "plan", "--" + hostileText}, {"__complete", "status", "-o", ""},
		},
	}
}

// capture runs f, and returns what f prints without the writers that commands are given.
func capture(t *testing.T, f func()) string {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = file, file
	defer func() { os.Stdout, os.Stderr = stdout, stderr }()
	f()
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// findSuspect returns the part of an output that must not be sent to a terminal, empty if there is none.
func findSuspect(text string, most int) string {
	for _, ours := range []string{"\x1b[1m", "\x1b[32m", "\x1b[0m"} {
		text = strings.ReplaceAll(text, ours, "")
	}
	for line := range strings.Lines(text) {
		line = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\t", "") // tabs are the scripts' of shells: cells are padded by spaces
		for _, r := range line {
			if !unicode.IsPrint(r) {
				return fmt.Sprintf("%U in %.200q", r, line)
			}
		}
		if strings.HasPrefix(strings.TrimSpace(line), "FORGED") || strings.Contains(line, "(MISSING)") || len([]rune(line)) > most {
			return fmt.Sprintf("%.200q, of %d characters", line, len([]rune(line)))
		}
	}
	return ""
}

// TestNoCommandLetsAStrangerWriteToTheTerminal also fails if there are no command lines of a command.
func TestNoCommandLetsAStrangerWriteToTheTerminal(t *testing.T) {
	lines := commandLines(hostileFiles(t))
	for name, connect := range hostileClusters(t) {
		t.Run(name, func(t *testing.T) {
			for _, command := range append(commands(t), "completion", "help", "") {
				if len(lines[command]) == 0 {
					t.Errorf("no calls of %s", command)
				}
				for _, args := range lines[command] {
					if slices.Contains([]string{"simulate", "fetch", "zones", "version", "completion", "help"}, command) && name != noCluster {
						continue // it asks no cluster
					}
					if command != "" {
						args = append([]string{command}, args...)
					}
					scan(t, connect, args)
				}
			}
		})
	}
}

func commands(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, command := range newRoot(env{stdout: screen.New(io.Discard, false), stderr: screen.New(io.Discard, false)}).Commands() {
		names = append(names, command.Name())
	}
	return names
}

func scan(t *testing.T, connect func(*env), args []string) {
	t.Helper()
	var code int
	var stdout, stderr string
	past := capture(t, func() {
		code, stdout, stderr = call(t, func(e *env) {
			asking()(e)
			connect(e)
			e.stdout = screen.New(e.stdout.Raw(), true)
		}, args...)
	})
	shown := fmt.Sprintf("%.100q", args)
	data := slices.Contains(args, "json") || slices.Contains(args, "yaml")
	most := 10_000 // several values stand in a line
	if data || slices.Contains(args, "csv") || slices.Contains(args, "markdown") {
		most = 100_000
	}
	for where, text := range map[string]string{"stdout": stdout, "stderr": stderr} {
		if found := findSuspect(text, most); found != "" {
			t.Errorf("%s: %s has %s", shown, where, found)
		}
	}
	if past != "" {
		t.Errorf("%s printed past its writers: %.200q", shown, past)
	}
	if data && code == 0 {
		var value any
		if err := yaml.Unmarshal([]byte(stdout), &value); err != nil {
			t.Errorf("%s: %v", shown, err)
		}
	}
}

// TestDataLosesNothingOfHostileText compares the output with what is in the cluster.
func TestDataLosesNothingOfHostileText(t *testing.T) {
	connect, _ := fakeCluster(t, jobOf("forged", v1alpha1.StateHeld, heldAnnotations(v1alpha1.ReasonAnnotation, hostileText, v1alpha1.DeadlineAnnotation, hostileText), 1))
	for _, format := range []string{"json", "yaml"} {
		_, stdout, _ := call(t, connect, "explain", "job", "forged", "-o", format)
		var got cluster.Explanation
		if err := yaml.Unmarshal([]byte(stdout), &got); err != nil || got.Reason != hostileText || got.Asked[v1alpha1.DeadlineAnnotation] != hostileText {
			t.Errorf("%s: %v: reason %.200q", format, err, got.Reason)
		}
	}
}

// TestWarningsOfTheAPIServerAreCleaned has an API server say hostile things in headers and errors.
func TestWarningsOfTheAPIServerAreCleaned(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Add("Warning", "299 - \"deprecated \u202e\u2028FORGED\"") // client-go drops those with control characters
		w.WriteHeader(http.StatusConflict)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonConflict, Message: hostileText, Code: http.StatusConflict})
	}))
	defer server.Close()
	connect := func(e *env) {
		e.cluster = func(connection) (*rest.Config, string, error) { return &rest.Config{Host: server.URL}, "batch", nil }
		e.dial = func(config *rest.Config) (client.Client, error) {
			scheme, err := cluster.Scheme()
			if err != nil {
				return nil, err
			}
			mapper := meta.NewDefaultRESTMapper(nil)
			mapper.Add(batchv1.SchemeGroupVersion.WithKind("Job"), meta.RESTScopeNamespace)
			return client.New(config, client.Options{Scheme: scheme, Mapper: mapper})
		}
	}
	scan(t, connect, []string{"explain", "job", "x"})
	_, _, stderr := call(t, connect, "explain", "job", "x")
	if warning, _, _ := strings.Cut(stderr, "\n"); warning != `Warning: deprecated \u202e\u2028FORGED` || strings.Count(stderr, "\n") != 2 {
		t.Errorf("stderr %q", stderr)
	}
}

// TestACommandWithoutAScreenIsFound tests the tests above.
func TestACommandWithoutAScreenIsFound(t *testing.T) {
	past := capture(t, func() {
		command := &cobra.Command{Use: "new", Run: func(*cobra.Command, []string) { fmt.Print(hostileText) }}
		command.SetArgs([]string{}) // not the arguments of this test
		if err := command.Execute(); err != nil {
			t.Error(err)
		}
	})
	if !strings.Contains(past, hostileText) || findSuspect(hostileText, 10_000) == "" || findSuspect("a\nFORGED b", 80) == "" {
		t.Errorf("captured %.100q", past)
	}
}
