package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/answer"
	"github.com/gridlatch/gridlatch/exporter/region"
)

// A gridServer answers as providers do, on loopback, with the intensity of the invented grid.
type gridServer struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []string
	header http.Header // of the last request
}

// requests returns what was asked.
func (s *gridServer) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// answerer returns what a server encodes as JSON; nil if it has written the response itself.
type answerer func(w http.ResponseWriter, r *http.Request) any

func serveGrid(t *testing.T, answer answerer) *gridServer {
	t.Helper()
	s := &gridServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked, s.header = append(s.asked, r.URL.RequestURI()), r.Header.Clone()
		s.mu.Unlock()
		if document := answer(w, r); document != nil {
			_ = json.NewEncoder(w).Encode(document) // a broken answer fails the test
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// gridAt returns the intensity of the invented grid.
func gridAt(at time.Time) float64 { return intensity(int(at.Unix() / 3600)) }

// energyCharts answers as Energy-Charts does: with the past until an instant, and the forecast from
// then on. Without a span, it answers for the days around that instant.
func energyCharts(until time.Time) answerer {
	return func(w http.ResponseWriter, r *http.Request) any {
		start, end := until.Truncate(24*time.Hour), until.Truncate(24*time.Hour).AddDate(0, 0, 3)
		var err error
		if r.FormValue("start") != "" {
			var endErr error
			start, err = time.Parse("2006-01-02T15:04Z", r.FormValue("start"))
			end, endErr = time.Parse("2006-01-02T15:04Z", r.FormValue("end"))
			err = errors.Join(err, endErr)
		}
		if err != nil || r.URL.Path != "/co2eq" || r.FormValue("country") != "de" {
			w.WriteHeader(http.StatusNotFound)
			return map[string]string{"detail": "no such country"}
		}
		seconds, actual, forecast := []int64{}, []*float64{}, []*float64{}
		for at := start.Truncate(15 * time.Minute); at.Before(end); at = at.Add(15 * time.Minute) {
			value := gridAt(at)
			seconds = append(seconds, at.Unix())
			if at.Before(until) {
				actual, forecast = append(actual, &value), append(forecast, nil)
			} else {
				actual, forecast = append(actual, nil), append(forecast, &value)
			}
		}
		return map[string]any{"unix_seconds": seconds, "co2eq": actual, "co2eq_forecast": forecast, "deprecated": false}
	}
}

// ukCarbonIntensity answers as the Carbon Intensity API does.
func ukCarbonIntensity(w http.ResponseWriter, r *http.Request) any {
	const layout = "2006-01-02T15:04Z"
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/intensity/"), "/")
	from, err := time.Parse(layout, parts[0])
	to := from.Add(48 * time.Hour)
	if err == nil && parts[1] != "fw48h" {
		to, err = time.Parse(layout, parts[1])
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return nil
	}
	data := []any{}
	for at := from.Truncate(30 * time.Minute); at.Before(to); at = at.Add(30 * time.Minute) {
		data = append(data, map[string]any{
			"from": at.Format(layout), "to": at.Add(30 * time.Minute).Format(layout),
			"intensity": map[string]any{"forecast": gridAt(at), "actual": gridAt(at), "index": "moderate"},
		})
	}
	return map[string]any{"data": data}
}

// electricityMaps answers as Electricity Maps does, to a customer whose plan has some of the
// requests.
func electricityMaps(now time.Time, inPlan ...string) answerer {
	return func(w http.ResponseWriter, r *http.Request) any {
		what := strings.TrimPrefix(r.URL.Path, "/carbon-intensity/")
		if r.Header.Get("Auth-Token") != "em-key-123" {
			w.WriteHeader(http.StatusUnauthorized)
			return map[string]string{"error": "Invalid auth-token em-key-123"}
		}
		if !slices.Contains(inPlan, what) {
			w.WriteHeader(http.StatusForbidden)
			return map[string]string{"message": "not in your plan"}
		}
		from, to := now.Add(-24*time.Hour), now
		switch what {
		case "past-range":
			from, _ = time.Parse(time.RFC3339, r.FormValue("start")) // a wrong time fails the test
			to, _ = time.Parse(time.RFC3339, r.FormValue("end"))
		case "forecast":
			from, to = now, now.Add(72*time.Hour)
		}
		list := []any{}
		for at := from.Truncate(time.Hour); at.Before(to); at = at.Add(time.Hour) {
			list = append(list, map[string]any{"datetime": at.Format(time.RFC3339), "carbonIntensity": gridAt(at)})
		}
		name := map[string]string{"past-range": "data", "history": "history", "forecast": "forecast"}[what]
		return map[string]any{"zone": "DE", name: list}
	}
}

// asking changes an environment: the environment has some variables, and nobody waits.
func asking(variables ...string) func(*env) {
	return func(e *env) {
		known := map[string]string{}
		for i := 0; i < len(variables); i += 2 {
			known[variables[i]] = variables[i+1]
		}
		e.getenv = func(name string) string { return known[name] }
		e.sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	}
}

func TestFetchPrintsWhatSimulateReads(t *testing.T) {
	now := parse(t, evening)
	charts, uk, em := serveGrid(t, energyCharts(now)), serveGrid(t, ukCarbonIntensity), serveGrid(t, electricityMaps(now, "past-range", "forecast"))
	for name, args := range map[string][]string{
		"fetch-past":     {"--provider", "energy-charts", "--zone", "DE", "--since", "6h", "--base-url", charts.URL},
		"fetch-region":   {"--region", "eu-west-2", "--since", "2026-11-21T17:00:00Z", "--base-url", uk.URL},
		"fetch-json":     {"--provider", "UKCARBONINTENSITY", "--zone", "GB", "--since", "2h", "--base-url", uk.URL, "-o", "json"},
		"fetch-forecast": {"--provider", "electricity-maps", "--zone", "DE", "--forecast", "--base-url", em.URL},
		"fetch-mock":     {"--provider", "mock", "--zone", "anywhere", "--since", "3h"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, asking("ELECTRICITY_MAPS_TOKEN", "em-key-123"), append([]string{"fetch"}, args...)...)
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			wantGolden(t, name, stdout+"--- standard error\n"+stderr)
		})
	}
}

// TestAFetchedFileSimulatesAsItsProvider fetches a past into a file and simulates the file, and
// simulates the provider.
func TestAFetchedFileSimulatesAsItsProvider(t *testing.T) {
	s := serveGrid(t, energyCharts(parse(t, evening)))
	source := []string{"--provider", "energy-charts", "--zone", "DE", "--since", "40d", "--base-url", s.URL}
	file := filepath.Join(t.TempDir(), "DE.actual.csv")
	code, stdout, stderr := call(t, asking(), append([]string{"fetch", "--file", file}, source...)...)
	if code != 0 || stdout != "" {
		t.Fatalf("exit code %d, stdout %q, stderr %s", code, stdout, stderr)
	}
	if n := len(s.requests()); n != 1 {
		t.Errorf("%d requests for 40 days, want 1, since they are scarce", n)
	}
	_, byProvider, stderr := call(t, asking(), append([]string{"simulate", "-o", "json"}, source...)...)
	code, byFile, _ := call(t, nil, "simulate", "-o", "json", "--actual", file)
	if code != 0 {
		t.Fatal(stderr)
	}
	fromFile, fromProvider := decoded(t, byFile), decoded(t, byProvider)
	origin := fromProvider["actual"].(map[string]any)
	if origin["attribution"] != "Data: Energy-Charts, Fraunhofer ISE (energy-charts.info), CC BY 4.0" || fromProvider["limits"] == nil {
		t.Errorf("the report of the provider has no attribution or no limits: %.600s", byProvider)
	}
	delete(fromProvider, "limits")
	for _, field := range []string{"file", "origin", "attribution"} {
		delete(fromFile["actual"].(map[string]any), field)
		delete(origin, field)
	}
	if diff := cmp.Diff(fromFile, fromProvider); diff != "" {
		t.Errorf("by the file and by the provider (-file +provider):\n%s", diff)
	}
}

func decoded(t *testing.T, text string) map[string]any {
	t.Helper()
	var value map[string]any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v: %.300s", err, text)
	}
	return value
}

func TestSimulateNamesItsProviderAndItsLimits(t *testing.T) {
	code, stdout, stderr := call(t, asking(), "simulate", "--provider", "mock", "--zone", "DE", "--since", "2026-06-01", "--until", "2026-08-01", "--policy", "gridlatch,oracle")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	wantGolden(t, "simulate-mock", stdout)
}

func TestWhatAFailingProviderGaveIsKept(t *testing.T) {
	after := func(good int, fail func(http.ResponseWriter)) answerer {
		n := 0
		return func(w http.ResponseWriter, r *http.Request) any {
			if n++; n > good {
				fail(w)
				return nil
			}
			return ukCarbonIntensity(w, r)
		}
	}
	status := func(code int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(code)
		}
	}
	text := func(body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { fmt.Fprint(w, body) }
	}
	const page = "<!doctype html><title>Log in</title>"
	for name, tt := range map[string]struct {
		answer answerer
		code   int
		want   string
	}{
		"an error at once":        {after(0, status(503)), 1, "gridlatch: zone \"GB\": GET http://HOST/intensity/2026-11-11T21:00Z/2026-11-21T21:00Z: 503 Service Unavailable\n"},
		"an error halfway":        {after(2, status(503)), 3, "warning: zone GB of Carbon Intensity API (GB), average, direct: only a part of the past is there: zone \"GB\": GET http://HOST/intensity/2026-10-22T21:00Z/2026-11-01T21:00Z: 503 Service Unavailable\n"},
		"asked too often":         {after(0, status(429)), 1, ": 429 Too Many Requests: asked too often\n"},
		"halfway too often":       {after(2, status(429)), 3, "429 Too Many Requests: asked too often\n"},
		"a page for people":       {after(0, text(page)), 1, "a page of HTML, want JSON: is a log-in page or a proxy in between?\n"},
		"halfway such a page":     {after(2, text(page)), 3, "a page of HTML, want JSON: is a log-in page or a proxy in between?\n"},
		"no value at all":         {func(http.ResponseWriter, *http.Request) any { return map[string]any{"data": []any{}} }, 1, "zone \"GB\": no usable value in 0 elements"},
		"a body that is cut off":  {after(0, text(`{"data":[{`)), 1, "unreadable response: the JSON is broken"},
		"a body without anything": {after(0, text(`{}`)), 1, "unreadable response: data: want a list"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveGrid(t, tt.answer)
			dir := t.TempDir()
			file := filepath.Join(dir, "GB.csv")
			code, _, stderr := call(t, asking(), "fetch", "--provider", "uk-carbon-intensity", "--zone", "GB", "--since", "40d", "--base-url", s.URL, "--file", file)
			stderr = strings.ReplaceAll(stderr, s.Listener.Addr().String(), "HOST")
			if code != tt.code || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d, want %d; stderr\n%s, want\n%s", code, tt.code, stderr, tt.want)
			}
			text, _ := os.ReadFile(file) // no file has no rows
			if rows, want := strings.Count(string(text), "\n"), map[int]int{1: 0, 3: 1 + 20*48}[tt.code]; rows != want {
				t.Errorf("%d rows, want %d", rows, want)
			}
			if entries, _ := os.ReadDir(dir); len(entries) != strings.Count(string(text), "timestamp,intensity\n") {
				t.Errorf("the folder has %s", entries)
			}
		})
	}
}

func TestAPlanWithLittleTellsWhatIsMissing(t *testing.T) {
	key := asking("ELECTRICITY_MAPS_TOKEN", "em-key-123")
	args := []string{"--provider", "electricity-maps", "--zone", "DE", "--base-url"}
	s := serveGrid(t, electricityMaps(parse(t, evening), "history"))
	code, stdout, stderr := call(t, key, append(append([]string{"fetch"}, args...), s.URL)...)
	if code != 3 || strings.Count(stdout, "\n") < 24 || !strings.Contains(stderr, " of 90d are not known") || strings.Contains(stderr, "em-key") {
		t.Errorf("fetch: exit code %d, stderr %s, stdout %s", code, stderr, stdout)
	}
	if n := len(s.requests()); n != 2 {
		t.Errorf("%d requests, want 2, since older pages are missing, too: %s", n, s.requests())
	}
	code, stdout, stderr = call(t, key, append(append([]string{"plan"}, args...), s.URL)...)
	if code != 0 || !strings.HasPrefix(stdout, "Start at once") || !strings.Contains(stderr, "warning: there is no forecast, and the plan is by the past alone: ") {
		t.Errorf("plan by a day: exit code %d, stderr %s, stdout %s", code, stderr, stdout)
	}
}

func TestPlanAsksAProvider(t *testing.T) {
	now := parse(t, evening)
	for name, tt := range map[string]struct {
		args   []string
		answer answerer
		basis  string
		warns  string
	}{
		"with both":         {[]string{"--provider", "energy-charts", "--zone", "DE"}, energyCharts(now), "forecast", ""},
		"with late actuals": {[]string{"--provider", "EnergyCharts", "--zone", "DE"}, energyCharts(now.Add(-3 * time.Hour)), "forecast", " of 55d23h are not known"},
		"by a region":       {[]string{"--region", "uksouth"}, ukCarbonIntensity, "forecast", ""},
		"without a forecast": {
			[]string{"--provider", "electricity-maps", "--region", "eu-central-1"}, electricityMaps(now, "past-range"), "history",
			"warning: there is no forecast, and the plan is by the past alone: zone \"DE\": GET http://HOST/carbon-intensity/forecast: 403 Forbidden: not in this plan",
		},
		"without a past": {
			[]string{"--provider", "electricity-maps", "--zone", "DE"}, electricityMaps(now, "forecast"), "forecast",
			"warning: there is no past, and the forecast is not corrected: ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveGrid(t, tt.answer)
			args := append([]string{"plan", "--duration", "2h", "--deadline", "24h", "-o", "json", "--base-url", s.URL}, tt.args...)
			code, stdout, stderr := call(t, asking("ELECTRICITY_MAPS_TOKEN", "em-key-123"), args...)
			stderr = strings.ReplaceAll(stderr, s.Listener.Addr().String(), "HOST")
			if code != 0 || !strings.Contains(stderr, tt.warns) || tt.warns == "" && stderr != "" {
				t.Fatalf("exit code %d, stderr %s", code, stderr)
			}
			var got answer.Report
			if err := json.Unmarshal([]byte(stdout), &got); err != nil {
				t.Fatal(err)
			}
			// The invented grid is cleanest around seven.
			if string(got.Forecast.Basis) != tt.basis || !got.Waits || got.Start.Hour() < 4 || got.Start.Hour() > 9 || got.Forecast.Attribution == "" {
				t.Errorf("planned by %s, want by %s: %s", got.Forecast.Basis, tt.basis, stdout)
			}
		})
	}
}

func TestAPlanByAProviderIsDrawn(t *testing.T) {
	code, stdout, stderr := call(t, asking(), "plan", "--provider", "mock", "--zone", "DE", "--now", "2026-06-16T18:00:00Z", "--duration", "2h", "--deadline", "24h")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	wantGolden(t, "plan-mock", stdout)
}

func TestKeysComeFromTheEnvironmentOrAFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	s := serveGrid(t, func(w http.ResponseWriter, r *http.Request) any {
		if user, password, ok := r.BasicAuth(); ok {
			if user != "ada" || password != "pass:word" {
				w.WriteHeader(http.StatusUnauthorized)
			}
			return map[string]string{"token": "t-1-token"}
		}
		w.WriteHeader(http.StatusTeapot)
		return map[string]string{"message": "I have seen " + r.Header.Get("Auth-Token") + r.Header.Get("Authorization")}
	})
	for name, tt := range map[string]struct {
		variables []string
		args      []string
		header    string
		want      string
	}{
		"of Electricity Maps": {[]string{"ELECTRICITY_MAPS_TOKEN", "em-key-123"}, []string{"--provider", "electricity-maps"}, "Auth-Token", "em-key-123"},
		"in a file": {
			[]string{"ELECTRICITY_MAPS_TOKEN", "another"}, []string{"--provider", "electricity-maps", "--key-file", write("key", "em-key-123\n")}, "Auth-Token", "em-key-123",
		},
		"of an account":           {[]string{"WATTTIME_USER", "ada", "WATTTIME_PASSWORD", "pass:word"}, []string{"--provider", "watttime"}, "Authorization", "Bearer t-1-token"},
		"of an account in a file": {nil, []string{"--provider", "watttime", "--key-file", write("account", "ada:pass:word\n")}, "Authorization", "Bearer t-1-token"},
		"of one's own":            {[]string{"GRIDLATCH_KEY", "own-key"}, []string{"--provider", "carbon-aware-sdk", "--key-header", "X-Key"}, "X-Key", "own-key"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, asking(tt.variables...), append([]string{"fetch", "--zone", "DE", "--base-url", s.URL}, tt.args...)...)
			if code != 1 || s.header.Get(tt.header) != tt.want {
				t.Errorf("exit code %d, %s: %q, want %q; stderr %s", code, tt.header, s.header.Get(tt.header), tt.want, stderr)
			}
			for _, secret := range []string{"em-key-123", "pass:word", "t-1-token", "own-key"} {
				if strings.Contains(stdout+stderr, secret) {
					t.Errorf("the output has a key: %s", stderr)
				}
			}
		})
	}
}

func TestARefusedKeyIsTraced(t *testing.T) {
	s := serveGrid(t, electricityMaps(parse(t, evening)))
	for _, args := range [][]string{{"fetch"}, {"fetch", "--forecast"}, {"simulate"}, {"plan"}} {
		code, _, stderr := call(t, asking("ELECTRICITY_MAPS_TOKEN", "old-key"), append(args, "--provider", "electricity-maps", "--zone", "DE", "--base-url", s.URL)...)
		if code != 1 || !strings.Contains(stderr, "the key is missing, wrong or expired") || !strings.Contains(stderr, "; look at ELECTRICITY_MAPS_TOKEN\n") || strings.Contains(stderr, "old-key") {
			t.Errorf("%s: exit code %d, stderr %s", args, code, stderr)
		}
	}
}

// TestAServerOfOnesOwn serves a file that was fetched.
func TestAServerOfOnesOwn(t *testing.T) {
	_, file, _ := call(t, asking(), "fetch", "--provider", "mock", "--zone", "DE", "--since", "20d")
	s := serveGrid(t, func(w http.ResponseWriter, r *http.Request) any {
		if r.URL.Path == "/FR" && r.FormValue("from") == "2026-11-01T21:00:00Z" && r.Header.Get("X-Key") == "own-key" {
			fmt.Fprint(w, file)
		}
		return nil
	})
	args := []string{"fetch", "--provider", "HTTP", "--zone", "FR", "--since", "20d", "--past-url", s.URL + "/{zone}?from={from}", "--key-header", "X-Key", "--kind", "marginal"}
	code, got, stderr := call(t, asking("GRIDLATCH_KEY", "own-key"), args...)
	if diff := cmp.Diff(file, got); code != 0 || diff != "" || !strings.Contains(stderr, "zone FR of HTTP, marginal: 480 values") {
		t.Errorf("exit code %d, stderr %s (-served +fetched):\n%s", code, stderr, diff)
	}
}

func TestMistakesWithProvidersAreExplained(t *testing.T) {
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, make([]byte, 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	const all = "energy-charts, uk-carbon-intensity, energinet, grid-carbon, electricity-maps, watttime, carbon-aware-sdk, http, mock"
	for name, tt := range map[string]struct {
		args string
		want string
	}{
		"no provider":               {"fetch", "want --provider and --zone, such as --provider energy-charts --zone DE; or --region, such as --region eu-central-1"},
		"no zone":                   {"fetch --provider energy-charts", "--zone is needed: want a zone as energy-charts names it, or --region with a region of a cloud; see: kubectl gridlatch zones"},
		"an unknown provider":       {"fetch --provider entsoe --zone DE", `--provider "entsoe": want one of ` + all},
		"a zone and a region":       {"fetch --provider mock --zone DE --region eu-central-1", "want --zone or --region, not both"},
		"an unknown region":         {"fetch --region eu-cntral-1", `--region "eu-cntral-1": is not known: did you mean eu-central-1`},
		"a region nowhere near":     {"fetch --region mars", `--region "mars": is not known; see: kubectl gridlatch zones`},
		"a region without coverage": {"fetch --provider energy-charts --region us-east-1", `--region "us-east-1": energy-charts has no zone for this region: want --provider electricity-maps or watttime`},
		"a region of nobody free":   {"simulate --region us-east-1", `--region "us-east-1": no provider without a key covers this region: want --provider electricity-maps or watttime`},
		"a bad kind":                {"fetch --provider mock --zone DE --kind mean", `--kind "mean": want average or marginal`},
		"bad factors":               {"fetch --provider mock --zone DE --emission-factors all", `--emission-factors "all": want life-cycle or direct`},
		"a signal of nobody":        {"fetch --provider energy-charts --zone DE --kind marginal", `--provider energy-charts: EnergyCharts: signal: marginal: want one of ["average"]`},
		"a bad address":             {"fetch --provider energy-charts --zone DE --base-url charts", `--provider energy-charts: EnergyCharts: baseURL: want a URL such as https://example.com/path`},
		"an address for mock":       {"fetch --provider mock --zone DE --base-url http://x", `--base-url is not for the provider mock`},
		"a URL for a known server":  {"fetch --provider energy-charts --zone DE --past-url http://x", `--past-url is not for the provider energy-charts: want --provider http, or --base-url`},
		"no URL":                    {"fetch --provider http --zone DE", `the provider http needs --past-url or --forecast-url, such as https://example.com/{zone}.csv`},
		"no WebApi":                 {"fetch --provider carbon-aware-sdk --zone DE", `the provider carbon-aware-sdk needs --base-url: want the address of your WebApi`},
		"no key":                    {"fetch --provider electricity-maps --zone DE", `the provider electricity-maps needs a key: set ELECTRICITY_MAPS_TOKEN in the environment, or name a file with the key by --key-file`},
		"no account":                {"fetch --provider watttime --zone X", `the provider watttime needs a key: set WATTTIME_USER and WATTTIME_PASSWORD in the environment, or name a file with USER:PASSWORD by --key-file`},
		"a key as an argument":      {"plan --provider electricity-maps --zone DE --key em-key-123", `--key is the key of a ConfigMap: want the key of a provider in the environment, or in a file that --key-file names`},
		"a missing key file":        {"fetch --provider watttime --zone X --key-file nowhere", `--key-file "nowhere": open nowhere: no such file or directory`},
		"a large key file":          {"fetch --provider watttime --zone X --key-file " + large, `want at most 4096 bytes`},
		"a CA file without a CA":    {"fetch --provider energy-charts --zone DE --ca-file main.go", `--provider energy-charts: EnergyCharts: ca: no certificate in it: want PEM`},
		"a bad beginning":           {"fetch --provider mock --zone DE --since ever", `--since "ever": want a duration of at most 366d, an instant or a day, such as 90d, 2026-08-01T00:00:00Z or 2026-08-01`},
		"a beginning in the future": {"fetch --provider mock --zone DE --since 2027-01-01", `--since "2027-01-01": want a time before 2026-11-21 21:00 UTC, by an hour to 3660 days`},
		"a bad end":                 {"fetch --provider mock --zone DE --until never", `--until "never": want RFC 3339 or a day`},
		"an end in the future":      {"fetch --provider mock --zone DE --until 2027-01-01", `--until "2027-01-01": is in the future: now is 2026-11-21 21:14 UTC`},
		"a past of a forecast":      {"fetch --provider mock --zone DE --forecast --since 1d", `--since is for the past: want it without --forecast`},
		"a file as a format":        {"fetch --provider mock --zone DE -o DE.csv", `--output "DE.csv": want json, or nothing for CSV; --file names a file`},
		"two pasts":                 {"simulate --actual x --provider mock --zone DE", `want --actual or --provider, not both`},
		"a zone without a provider": {"simulate --actual x --zone DE", `--zone needs --provider: want one of ` + all},
		"a span of a file":          {"simulate --actual x --since 3d", `--since is for the past of a provider: want it without --actual`},
		"two forecasts":             {"plan x --provider mock --zone DE", `want FORECAST or --provider, not both`},
		"a location":                {"plan --provider mock --zone DE --location X", `--location is for a forecast with several locations: want --zone with --provider`},
		"a flag of the cluster":     {"plan --provider mock --zone DE --policy p", `--policy is for reading from the cluster: want it without --provider`},
		"a zone of the cluster":     {"plan --zone DE", `--zone needs --provider: want one of ` + all},
		"another moment":            {"plan --provider energy-charts --zone DE --now 2026-11-20T00:00:00Z", `--now "2026-11-20T00:00:00Z": a provider knows the forecast as it is now: want --now without --provider, or with the provider mock`},
		"an unknown region to show": {"zones eu-centrl-1", `"eu-centrl-1": is not known: did you mean eu-central-1`},
		"two regions to show":       {"zones a b", `unknown argument "b"`},
		"a bad format of zones":     {"zones -o csv", `--output "csv": want json or yaml, or nothing for text`},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, asking(), strings.Fields(tt.args)...)
			if code != 2 || stdout != "" || !strings.HasPrefix(stderr, "gridlatch: ") || !strings.Contains(stderr, tt.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit code %d, stdout %q, stderr\n%s, want one line with\n%s", code, stdout, stderr, tt.want)
			}
		})
	}
}

func TestZonesPrints(t *testing.T) {
	for name, args := range map[string][]string{
		"zones": nil, "zones-region": {"EU-central-1"}, "zones-zone": {"us-cal-ciso"}, "zones-country": {"SE"}, "zones-place": {"london"},
		"zones-json": {"westus", "-o", "json"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, nil, append([]string{"zones"}, args...)...)
			if code != 0 || stderr != "" {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			wantGolden(t, name, stdout)
		})
	}
}

func TestAServerOfOnesOwnRemainsWhereNobodyCovers(t *testing.T) {
	if diff := cmp.Diff([]string{"http"}, covering(region.Region{Name: "new"}, false)); diff != "" {
		t.Error(diff)
	}
}

func TestARegionHasTheProviderThatKnowsItBest(t *testing.T) {
	for name, want := range map[string]string{"denmarkeast": "Energinet DK2", "eu-central-1": "EnergyCharts DE", "uksouth": "UKCarbonIntensity GB"} {
		kind, zone, err := (&providerFlags{region: name}).resolve()
		if got := string(kind) + " " + zone; err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", name, got, err, want)
		}
	}
}

func TestEveryProviderHasANameAndAHelp(t *testing.T) {
	for _, p := range providersByName() {
		if !strings.Contains(providerHelp, "\n  "+p.name+" ") {
			t.Errorf("the help does not have %s", p.name)
		}
		for _, text := range []string{p.name, string(p.kind), strings.ToUpper(p.name)} {
			if got, err := parseProvider(text); err != nil || got != p {
				t.Errorf("%s: %v, %v", text, got, err)
			}
		}
	}
}
