package meter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/ledger"
)

var t0 = time.Date(2026, 11, 27, 6, 0, 0, 0, time.UTC)

// hour is a pod that runs for an hour.
func hour(uid string) ledger.PodRun {
	return ledger.PodRun{UID: uid, Namespace: "ns", Name: "pod-" + uid, Start: t0, End: t0.Add(time.Hour)}
}

// counter is a counter in an answer. It is sampled 120 times over the hour from t0, unless it says otherwise.
type counter struct {
	labels                               string // as JSON, without the braces
	joules, resets, samples, first, last any
}

// series returns the series of the counter in an answer.
func (c counter) series() []string {
	or := func(x, otherwise any) any {
		if x == nil {
			return otherwise
		}
		return x
	}
	figures := map[string]any{
		"max": c.joules, "resets": or(c.resets, 0), "samples": or(c.samples, 120),
		"first": or(c.first, t0.Add(10*time.Second).Unix()), "last": or(c.last, t0.Add(time.Hour-10*time.Second).Unix()),
	}
	var all []string
	for stat, value := range figures {
		all = append(all, fmt.Sprintf(`{"metric":{%s,"stat_of_the_counter":%q},"value":[1,"%v"]}`, c.labels, stat, value))
	}
	return all
}

func answer(counters ...counter) string {
	var all []string
	for _, c := range counters {
		all = append(all, c.series()...)
	}
	return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(all, ",") + `]}}`
}

// cpu are the labels of a counter of Kepler 0.10.
func cpu(uid, zone, instance string) string {
	return fmt.Sprintf(`"pod_id":%q,"pod_name":"p","pod_namespace":"ns","state":"running","zone":%q,"node_name":"n","job":"kepler","instance":%q`, uid, zone, instance)
}

// container are the labels of a counter of Kepler 0.9.
func container(pod, name, id, mode string) string {
	return fmt.Sprintf(`"container_namespace":"ns","pod_name":%q,"container_name":%q,"container_id":%q,"mode":%q,"instance":"a"`, pod, name, id, mode)
}

// prometheusWith answers queries by the name of the metric, and 404 for others.
func prometheusWith(t *testing.T, answers map[string]string) *Meter {
	t.Helper()
	return meterOf(t, func(w http.ResponseWriter, r *http.Request) {
		for name, text := range answers {
			if strings.Contains(r.FormValue("query"), name+"{") {
				_, _ = io.WriteString(w, text)
				return
			}
		}
		_, _ = io.WriteString(w, answer())
	})
}

func meterOf(t *testing.T, handler http.HandlerFunc) *Meter {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	m, err := New(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const podCPU, podGPU, ofContainer = "kepler_pod_cpu_joules_total", "kepler_pod_gpu_joules_total", "kepler_container_joules_total"

func TestTheEnergyOfAPodIsWhatItsCountersSay(t *testing.T) {
	at := func(minutes float64) int64 { return t0.Add(time.Duration(minutes * float64(time.Minute))).Unix() }
	withGPUs := hour("u")
	withGPUs.HasGPUs = true
	for name, tt := range map[string]struct {
		pod     ledger.PodRun
		answers map[string]string
		want    float64 // 0 if the pod is not measured
	}{
		"psys alone, because it has the others": {hour("u"), map[string]string{podCPU: answer(
			counter{labels: cpu("u", "psys", "a"), joules: 900}, counter{labels: cpu("u", "package", "a"), joules: 500},
			counter{labels: cpu("u", "core", "a"), joules: 300}, counter{labels: cpu("u", "dram", "a"), joules: 100})}, 900},
		"package and dram": {hour("u"), map[string]string{podCPU: answer(
			counter{labels: cpu("u", "package", "a"), joules: 500}, counter{labels: cpu("u", "core", "a"), joules: 300},
			counter{labels: cpu("u", "uncore", "a"), joules: 50}, counter{labels: cpu("u", "dram", "a"), joules: 100})}, 600},
		"zones that are not known": {hour("u"), map[string]string{podCPU: answer(counter{labels: cpu("u", "core", "a"), joules: 500})}, 0},
		"dram that is broken": {hour("u"), map[string]string{podCPU: answer(
			counter{labels: cpu("u", "package", "a"), joules: 500}, counter{labels: cpu("u", "dram", "a"), joules: "NaN"})}, 0},
		"the terminated pod, after the running one": {hour("u"), map[string]string{podCPU: answer(
			counter{labels: cpu("u", "package", "a"), joules: 500},
			counter{labels: strings.Replace(cpu("u", "package", "a"), "running", "terminated", 1), joules: 505, samples: 3, first: at(60), last: at(61)})}, 505},
		"two Prometheus servers that have seen the same": {hour("u"), map[string]string{podCPU: answer(
			counter{labels: cpu("u", "package", "a"), joules: 500}, counter{labels: cpu("u", "package", "b"), joules: 498, first: at(1)})}, 500},
		"a Kepler that was replaced": {hour("u"), map[string]string{podCPU: answer(
			counter{labels: cpu("u", "package", "a"), joules: 200, last: at(25)}, counter{labels: cpu("u", "package", "b"), joules: 300, first: at(26)})}, 500},
		"a counter that started anew":     {hour("u"), map[string]string{podCPU: answer(counter{labels: cpu("u", "package", "a"), joules: 500, resets: 1})}, 0},
		"a single sample":                 {hour("u"), map[string]string{podCPU: answer(counter{labels: cpu("u", "package", "a"), joules: 500, samples: 1})}, 0},
		"a Kepler that came late":         {hour("u"), map[string]string{podCPU: answer(counter{labels: cpu("u", "package", "a"), joules: 500, first: at(6)})}, 0},
		"a Kepler that went early":        {hour("u"), map[string]string{podCPU: answer(counter{labels: cpu("u", "package", "a"), joules: 500, last: at(54)})}, 0},
		"a node without a meter":          {hour("u"), map[string]string{podCPU: answer(counter{labels: cpu("u", "package", "a"), joules: 0})}, 0},
		"less than nothing":               {hour("u"), map[string]string{podCPU: answer(counter{labels: cpu("u", "package", "a"), joules: -5})}, 0},
		"no number":                       {hour("u"), map[string]string{podCPU: answer(counter{labels: cpu("u", "package", "a"), joules: "NaN"})}, 0},
		"without end":                     {hour("u"), map[string]string{podCPU: answer(counter{labels: cpu("u", "package", "a"), joules: "+Inf"})}, 0},
		"more than a data centre":         {hour("u"), map[string]string{podCPU: answer(counter{labels: cpu("u", "package", "a"), joules: 1e12})}, 0},
		"times that are no numbers":       {hour("u"), map[string]string{podCPU: answer(counter{labels: cpu("u", "package", "a"), joules: 5, first: "NaN"})}, 0},
		"another pod":                     {hour("u"), map[string]string{podCPU: answer(counter{labels: cpu("v", "package", "a"), joules: 500})}, 0},
		"GPUs":                            {withGPUs, map[string]string{podCPU: answer(counter{labels: cpu("u", "package", "a"), joules: 500}), podGPU: answer(counter{labels: `"pod_id":"u","state":"running"`, joules: 4000})}, 4500},
		"GPUs whose energy is not known":  {withGPUs, map[string]string{podCPU: answer(counter{labels: cpu("u", "package", "a"), joules: 500})}, 0},
		"GPUs whose energy is broken":     {hour("u"), map[string]string{podCPU: answer(counter{labels: cpu("u", "package", "a"), joules: 500}), podGPU: answer(counter{labels: `"pod_id":"u"`, joules: "NaN"})}, 0},
		"containers of an earlier Kepler": {hour("u"), map[string]string{ofContainer: answer(counter{labels: container("pod-u", "main", "1", "dynamic"), joules: 300}, counter{labels: container("pod-u", "main", "1", "idle"), joules: 40}, counter{labels: container("pod-u", "proxy", "2", "dynamic"), joules: 5})}, 345},
		"a container that was restarted": {hour("u"), map[string]string{ofContainer: answer(
			counter{labels: container("pod-u", "main", "1", "dynamic"), joules: 300, last: at(30)}, counter{labels: container("pod-u", "main", "2", "dynamic"), joules: 200, first: at(31)})}, 500},
		"an earlier pod of the same name": {hour("u"), map[string]string{ofContainer: answer(
			counter{labels: container("pod-u", "main", "1", "dynamic"), joules: 300}, counter{labels: container("pod-u", "main", "0", "dynamic"), joules: 9000, first: at(-3), last: at(-1)})}, 300},
		"GPUs, which an earlier Kepler does not tell of": {withGPUs, map[string]string{ofContainer: answer(counter{labels: container("pod-u", "main", "1", "dynamic"), joules: 300})}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := prometheusWith(t, tt.answers).Joules(t.Context(), []ledger.PodRun{tt.pod})
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]float64{}
			if tt.want > 0 {
				want["u"] = tt.want
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPodsOfOneNameAreToldApartByTheirTimes(t *testing.T) {
	first, second := hour("first"), hour("second")
	first.Name, second.Name = "same", "same"
	second.Start, second.End = t0.Add(2*time.Hour), t0.Add(3*time.Hour)
	text := answer(
		counter{labels: container("same", "main", "1", "dynamic"), joules: 300},
		counter{labels: container("same", "main", "2", "dynamic"), joules: 70, first: second.Start.Unix(), last: second.End.Unix()})
	got, err := prometheusWith(t, map[string]string{ofContainer: text}).Joules(t.Context(), []ledger.PodRun{first, second})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]float64{"first": 300, "second": 70}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAnAnswerThatIsNoneIsAnError(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer()) }))
	defer other.Close()
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"no JSON": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, "no answer of Prometheus"},
		"nothing": {func(http.ResponseWriter, *http.Request) {}, "no answer of Prometheus"},
		"a list":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "[]") }, "no answer of Prometheus"},
		"a matrix": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Replace(answer(), "vector", "matrix", 1))
		}, "a vector"},
		"an error": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"status":"error","error":"too \u001b[31m many"}`, http.StatusUnprocessableEntity)
		}, `HTTP 422: "too \x1b[31m many"`},
		"an error without end": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, strings.Repeat("x", 1<<20), http.StatusServiceUnavailable)
		}, "HTTP 503"},
		"a gigabyte": {func(w http.ResponseWriter, _ *http.Request) { endless(w, 1<<30) }, "more than 8388608 bytes"},
		"too many series": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[`+strings.Repeat("{},", maxSeries)+`{}]}}`)
		}, "want at most 40000"},
		"another server": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}, "want no other server"},
		"a circle": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		}, "redirects"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := meterOf(t, tt.handler).Joules(t.Context(), []ledger.PodRun{hour("u")})
			if err == nil || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 1000 || len(got) > 0 {
				t.Errorf("got %v and %v, want %q", got, err, tt.want)
			}
		})
	}
}

// endless writes a number of bytes, or as many as somebody reads.
func endless(w io.Writer, size int) {
	chunk := []byte(strings.Repeat("[", 1<<16))
	for ; size > 0; size -= len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

func TestASeriesThatCannotBeReadIsLeftOut(t *testing.T) {
	good := counter{labels: cpu("u", "package", "a"), joules: 500}
	for _, bad := range []string{
		`{}`, `null`, `7`, `[]`, `{"metric":null,"value":[1,"5"]}`, `{"metric":{"pod_id":7},"value":[1,"5"]}`, `{"metric":{},"value":[1,5]}`, `{"metric":{},"value":[]}`,
		`{"metric":{},"value":[1,"5",6,7]}`, `{"metric":{},"value":"5"}`, `{"metric":{"pod_id":"u","zone":"package"},"value":[1,"five"]}`, `{"metric":{"pod_id":"u","zone":"core"},"value":[1,"NaN"]}`,
	} {
		text := strings.Replace(answer(good), `"result":[`, `"result":[`+bad+",", 1)
		got, err := prometheusWith(t, map[string]string{podCPU: text}).Joules(t.Context(), []ledger.PodRun{hour("u")})
		if err != nil || got["u"] != 500 {
			t.Errorf("%s: got %v, %v", bad, got, err)
		}
	}
}

func TestAPrometheusThatDoesNotAnswerIsNotWaitedForLongerThanTheCallerWants(t *testing.T) {
	done := make(chan struct{})
	defer close(done)
	m := meterOf(t, func(http.ResponseWriter, *http.Request) { <-done })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := m.Joules(ctx, []ledger.PodRun{hour("u")}); err == nil {
		t.Error("want an error")
	}
	if m.client.Timeout <= 0 || m.client.Timeout > time.Minute {
		t.Errorf("a request has the time-out %v", m.client.Timeout)
	}
}

func TestACertificateThatNobodyKnowsIsRefused(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer()) }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	m, err := New(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Joules(t.Context(), []ledger.PodRun{hour("u")}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v", err)
	}
}

func TestAHundredPodsAreAskedForAtOnce(t *testing.T) {
	var requests, longest atomic.Int64
	m := meterOf(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		longest.Store(max(longest.Load(), int64(strings.Count(r.FormValue("query"), "|"))))
		_, _ = io.WriteString(w, answer())
	})
	var pods []ledger.PodRun
	for i := range 250 {
		pods = append(pods, hour(fmt.Sprint("u", i)))
	}
	if _, err := m.Joules(t.Context(), pods); err != nil {
		t.Fatal(err)
	}
	if requests.Load() != 6 || longest.Load() > 5*2*99 { // two generations of Kepler; five figures, whose selectors have two lists at most
		t.Errorf("%d requests, with %d bars", requests.Load(), longest.Load())
	}
}

func TestPodsOfDaysAndPodsOfSecondsAreInDifferentQueries(t *testing.T) {
	days, seconds := hour("days"), hour("seconds")
	days.End = t0.Add(72 * time.Hour)
	seconds.Start = days.End.Add(-30 * time.Second)
	seconds.End = days.End
	var got []string
	for _, batch := range batches(askable([]ledger.PodRun{seconds, days, hour("u")})) {
		w, uids := windowOf(batch), ""
		for _, p := range batch {
			uids += p.UID + " "
		}
		got = append(got, fmt.Sprintf("%s%v %v", uids, w.over, w.step))
	}
	if diff := cmp.Diff([]string{"days u 72h10m0s 1m30s", "seconds 10m30s 1s"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheQuestionCoversThePodAndWhatComesLate(t *testing.T) {
	m := meterOf(t, func(w http.ResponseWriter, r *http.Request) {
		if got, want := r.FormValue("time"), fmt.Sprintf("%d.000", t0.Add(65*time.Minute).Unix()); got != want {
			t.Errorf("asked at %s, want %s", got, want)
		}
		if query := r.FormValue("query"); !strings.Contains(query, "[4200s]") || !strings.Contains(query, "[4200s:90s]") {
			t.Errorf("asked %s", query)
		}
		if r.URL.Path != "/prefix/api/v1/query" {
			t.Errorf("asked at %s", r.URL.Path)
		}
		_, _ = io.WriteString(w, answer())
	})
	m.url = strings.Replace(m.url, "/api", "/prefix/api", 1)
	if _, err := m.Joules(t.Context(), []ledger.PodRun{hour("u")}); err != nil {
		t.Fatal(err)
	}
}

func TestAPodThatCannotBeIsNotAskedFor(t *testing.T) {
	m := meterOf(t, func(http.ResponseWriter, *http.Request) { t.Error("somebody asked") })
	for name, change := range map[string]func(*ledger.PodRun){
		"a UID that ends the query": func(p *ledger.PodRun) { p.UID = `u"} or vector(1)` },
		"a pattern":                 func(p *ledger.PodRun) { p.UID = ".*|" },
		"control characters":        func(p *ledger.PodRun) { p.Name = "a\x00\nb" },
		"no text":                   func(p *ledger.PodRun) { p.Namespace = "\xff" },
		"no UID":                    func(p *ledger.PodRun) { p.UID = "" },
		"a name without end":        func(p *ledger.PodRun) { p.Name = strings.Repeat("x", 1<<20) },
		"an end before the start":   func(p *ledger.PodRun) { p.End = p.Start.Add(-time.Second) },
		"no run":                    func(p *ledger.PodRun) { p.End = p.Start },
		"no start":                  func(p *ledger.PodRun) { p.Start = time.Time{} },
		"a run of years":            func(p *ledger.PodRun) { p.End = p.Start.AddDate(3, 0, 0) },
		"a run from the stone age":  func(p *ledger.PodRun) { p.Start = time.Unix(math.MinInt32, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			pod := hour("u")
			change(&pod)
			if got, err := m.Joules(t.Context(), []ledger.PodRun{pod}); err != nil || len(got) > 0 {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	if got, err := m.Joules(t.Context(), nil); err != nil || len(got) > 0 {
		t.Errorf("no pods: got %v, %v", got, err)
	}
}

func TestOnlyAnAddressOfAWebServerIsOne(t *testing.T) {
	for _, bad := range []string{"", "prometheus:9090", "ftp://a", "http://", "file:///etc/passwd", "http://me:secret@a", "http://a?x=1", "http://a#x", "http://a\x00", "://"} {
		if _, err := New(bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
	for address, want := range map[string]string{
		"http://prometheus.monitoring:9090": "http://prometheus.monitoring:9090/api/v1/query",
		"https://a.example.com/prefix/":     "https://a.example.com/prefix/api/v1/query",
	} {
		m, err := New(address)
		if err != nil || m.url != want {
			t.Errorf("%s: got %v, %v", address, m, err)
		}
	}
}

func FuzzAnAnswer(f *testing.F) {
	f.Add([]byte(answer(counter{labels: cpu("u", "package", "a"), joules: 500})))
	f.Add([]byte(answer(counter{labels: container("pod-u", "main", "1", "idle"), joules: "NaN", first: "-Inf"})))
	f.Add([]byte(`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"0x1p-2"]}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		pod := hour("u")
		for _, q := range []question{podCounters(podCPU, []ledger.PodRun{pod}), containerCounters([]ledger.PodRun{pod})} {
			samples, err := decode(body)
			if err != nil {
				continue
			}
			found := q.sort(samples)
			if joules, ok := ofPod(pod, found["u"], found["u"]); ok && !(joules > 0 && joules <= maxWatts*3600) {
				t.Errorf("%v joules are believed", joules)
			}
			if joules, ok := ofContainers(pod, found["ns/pod-u"]); ok && !(joules > 0 && joules <= maxWatts*3600) {
				t.Errorf("%v joules are believed", joules)
			}
		}
	})
}

func TestAPodWithTooManySeriesKeepsNoOtherFromBeingMeasured(t *testing.T) {
	pods := make([]ledger.PodRun, 9)
	for i := range pods {
		pods[i] = hour(fmt.Sprint("u", i))
	}
	m := meterOf(t, func(w http.ResponseWriter, r *http.Request) {
		query := r.FormValue("query")
		switch {
		case strings.Contains(query, "u4"):
			endless(w, maxResponseBytes+1)
		case strings.Contains(query, podCPU):
			var counters []counter
			for i := range pods {
				counters = append(counters, counter{labels: cpu(fmt.Sprint("u", i), "package", "a"), joules: 500})
			}
			_, _ = io.WriteString(w, answer(counters...))
		default:
			_, _ = io.WriteString(w, answer())
		}
	})
	got, err := m.Joules(t.Context(), pods)
	if !errors.Is(err, errTooLarge) {
		t.Errorf("the error is %v", err)
	}
	if _, known := got["u4"]; len(got) != 8 || known {
		t.Errorf("measured %v", got)
	}
}
