package extender

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

var t0 = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const regionLabel = "topology.kubernetes.io/region"

// grid makes a location of one intensity for every hour from t0 on.
func grid(name string, hours ...float64) Location {
	slots := make([]forecast.Slot, len(hours))
	for i, intensity := range hours {
		start := t0.Add(time.Duration(i) * time.Hour)
		slots[i] = forecast.Slot{Start: start, End: start.Add(time.Hour), Intensity: intensity}
	}
	return Location{Name: name, NodeSelector: map[string]string{regionLabel: name}, Expected: forecast.NewSeries(slots)}
}

func buckets(t testing.TB, text string) plan.Buckets {
	t.Helper()
	b, err := plan.ParseBuckets(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// at makes the metadata of a node at a grid location, with annotations by pairs.
func at(name, location string, annotations ...string) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{regionLabel: location}, Annotations: map[string]string{},
	}}
	for i := 0; i < len(annotations); i += 2 {
		m.Annotations[annotations[i]] = annotations[i+1]
	}
	return m
}

// newExtender knows nodes, and the same terms for every pod.
func newExtender(terms Terms, nodes ...*metav1.PartialObjectMetadata) *Extender {
	e := &Extender{
		Nodes: &Nodes{}, Now: func() time.Time { return t0 }, Metrics: NewMetrics(prometheus.NewRegistry()),
		Terms: func(context.Context, *metav1.PartialObjectMetadata, time.Time) (Terms, error) { return terms, nil },
	}
	for _, n := range nodes {
		e.Nodes.OnAdd(n, true)
	}
	return e
}

// byName is a request as kube-scheduler makes it with nodeCacheCapable.
func byName(t testing.TB, names ...string) []byte {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "pod", Annotations: map[string]string{"gridlatch.dev/delay-tolerant": "true"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "work", Image: "work"}}},
	}
	return encode(t, extenderv1.ExtenderArgs{Pod: pod, NodeNames: &names})
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func post(h http.Handler, path string, body []byte) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

// answerOf decodes an answer as kube-scheduler does.
func answerOf[T any](t testing.TB, w *httptest.ResponseRecorder) T {
	t.Helper()
	var into T
	decoder := json.NewDecoder(w.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&into); err != nil || w.Code != http.StatusOK {
		t.Fatalf("status %d, %v", w.Code, err)
	}
	return into
}

// TestWholeNodes has a scheduler send what it knows of nodes, and wants those
// back that are kept, with all that it has sent.
func TestWholeNodes(t *testing.T) {
	e := newExtender(Terms{Locations: []Location{grid("a", 100), grid("b", 500)}, Buckets: buckets(t, "200=9,*=1"), Strict: true, Duration: time.Hour}, at("a", "a"), at("b", "b"))
	list := &corev1.NodeList{}
	for _, name := range []string{"b", "a"} {
		list.Items = append(list.Items, corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"example.com/of": name}},
			Status:     corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{KernelVersion: "6.1 <\"é\">"}},
		})
	}
	body := encode(t, extenderv1.ExtenderArgs{Pod: &corev1.Pod{}, Nodes: list})
	scored := answerOf[extenderv1.HostPriorityList](t, post(e.Handler(), PrioritizePath, body))
	if diff := cmp.Diff(extenderv1.HostPriorityList{{Host: "b", Score: 0}, {Host: "a", Score: 10}}, scored); diff != "" {
		t.Error(diff)
	}
	kept := answerOf[extenderv1.ExtenderFilterResult](t, post(e.Handler(), FilterPath, body))
	want := extenderv1.ExtenderFilterResult{
		Nodes:                      &corev1.NodeList{Items: list.Items[1:]},
		FailedAndUnresolvableNodes: extenderv1.FailedNodesMap{"b": "node(s) at grid location b in bucket >200, while a is in <=200"},
	}
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNoRequestIsRefused(t *testing.T) {
	good := string(byName(t, "a"))
	for name, tt := range map[string]struct {
		method, kind, body string
		code               int
		want               string
	}{
		"another method":     {http.MethodGet, "application/json", good, http.StatusMethodNotAllowed, "want POST"},
		"another content":    {http.MethodPost, "text/plain", good, http.StatusUnsupportedMediaType, "want application/json"},
		"no content type":    {http.MethodPost, "", good, http.StatusUnsupportedMediaType, "want application/json"},
		"with a charset":     {http.MethodPost, "application/json; charset=utf-8", good, http.StatusOK, ""},
		"nothing":            {http.MethodPost, "application/json", "", http.StatusBadRequest, "EOF"},
		"no JSON":            {http.MethodPost, "application/json", "{", http.StatusBadRequest, "EOF"},
		"no object":          {http.MethodPost, "application/json", "[]", http.StatusBadRequest, "the body: want {, not ["},
		"no pod":             {http.MethodPost, "application/json", `{"NodeNames":["a"]}`, http.StatusBadRequest, "want the pod to place as Pod"},
		"a pod that is none": {http.MethodPost, "application/json", `{"Pod":null}`, http.StatusBadRequest, "want the pod to place as Pod"},
		"broken metadata":    {http.MethodPost, "application/json", `{"Pod":{"metadata":{"name":3}}}`, http.StatusBadRequest, "Pod.metadata.name: "},
		"a name that is none": {
			http.MethodPost, "application/json", `{"Pod":{},"NodeNames":["a",7]}`, http.StatusBadRequest, "want the name of a node, not number"},
		"two pods":              {http.MethodPost, "application/json", `{"Pod":{},"pod":{}}`, http.StatusBadRequest, "want the pod to place as Pod"},
		"metadata twice":        {http.MethodPost, "application/json", `{"Pod":{"metadata":{},"metadata":{}}}`, http.StatusBadRequest, "Pod.metadata: want it once"},
		"a node without a name": {http.MethodPost, "application/json", `{"Pod":{},"Nodes":{"items":[{"metadata":{}}]}}`, http.StatusBadRequest, "want one metadata.name in each of Nodes.items"},
		"a node with two names": {
			http.MethodPost, "application/json", `{"Pod":{},"Nodes":{"items":[{"metadata":{"name":"a","name":"b"}}]}}`, http.StatusBadRequest, "want one metadata.name in each"},
		"names and nodes": {
			http.MethodPost, "application/json", `{"Pod":{},"NodeNames":["a"],"Nodes":{"items":[{"metadata":{"name":"a"}}]}}`, http.StatusBadRequest, "want either Nodes or NodeNames"},
		"more behind it": {http.MethodPost, "application/json", good + "{}", http.StatusBadRequest, "nothing after it"},
		"a body without end": {
			http.MethodPost, "application/json", `{"Pod":{},"x":"` + strings.Repeat("x", int(intakeLimits().MaxBody)) + `"}`, http.StatusRequestEntityTooLarge, "at most 32 MiB"},
	} {
		for _, path := range []string{PrioritizePath, FilterPath} {
			t.Run(name+path, func(t *testing.T) {
				req := httptest.NewRequest(tt.method, path, strings.NewReader(tt.body))
				req.ContentLength = -1 // not told: chunked
				req.Header.Set("Content-Type", tt.kind)
				w := httptest.NewRecorder()
				newExtender(Terms{}).Handler().ServeHTTP(w, req)
				if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.want) {
					t.Errorf("status %d: %.200s", w.Code, w.Body)
				}
			})
		}
	}
}

func TestALengthThatIsTooMuchIsRefusedUnread(t *testing.T) {
	req := httptest.NewRequest(http.MethodPost, PrioritizePath, http.NoBody)
	req.ContentLength = intakeLimits().MaxBody + 1
	req.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	newExtender(Terms{}).Handler().ServeHTTP(w, req)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", w.Code)
	}
}

func TestWithoutTermsAllNodesAreAlike(t *testing.T) {
	e := newExtender(Terms{}, at("a", "a"), at("b", "b"))
	e.Terms = func(context.Context, *metav1.PartialObjectMetadata, time.Time) (Terms, error) {
		return Terms{Policy: "gone", Strict: true}, errors.Join(ErrNoPolicy, errors.New("no policy gone"))
	}
	if diff := cmp.Diff(map[string]int64{"a": 0, "b": 0}, points(t, e, "a", "b")); diff != "" {
		t.Error(diff)
	}
	got := answerOf[extenderv1.ExtenderFilterResult](t, post(e.Handler(), FilterPath, byName(t, "a", "b")))
	if diff := cmp.Diff([]string{"a", "b"}, *got.NodeNames); diff != "" {
		t.Error(diff)
	}
	if n := testutil.ToFloat64(e.Metrics.requests.WithLabelValues("prioritize", "neutral")); n != 1 {
		t.Errorf("%v neutral answers are counted, want 1", n)
	}
}

func TestMetrics(t *testing.T) {
	e := newExtender(Terms{Locations: []Location{grid("a", 100), grid("b", 500)}, Buckets: buckets(t, "200=9,*=1"), Strict: true, Duration: time.Hour}, at("a", "a"), at("b", "b"))
	body := byName(t, "a", "b", "new")
	post(e.Handler(), PrioritizePath, body)
	post(e.Handler(), FilterPath, body)
	post(e.Handler(), FilterPath, []byte("{"))
	const want = `
# HELP gridlatch_extender_nodes_total Nodes in requests of kube-scheduler, by verb and outcome. Outcomes: scored, unknown (the node is at no location, or at one without a forecast), kept, dropped.
# TYPE gridlatch_extender_nodes_total counter
gridlatch_extender_nodes_total{outcome="dropped",verb="filter"} 1
gridlatch_extender_nodes_total{outcome="kept",verb="filter"} 2
gridlatch_extender_nodes_total{outcome="scored",verb="prioritize"} 2
gridlatch_extender_nodes_total{outcome="unknown",verb="prioritize"} 1
`
	if err := testutil.CollectAndCompare(e.Metrics.nodes, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(e.Metrics.seconds); n != 3 {
		t.Errorf("latencies of %d kinds are measured, want 3", n)
	}
	for _, tt := range []struct {
		verb    string
		outcome outcome
	}{{"prioritize", answered}, {"filter", answered}, {"filter", refused}} {
		if n := testutil.ToFloat64(e.Metrics.requests.WithLabelValues(tt.verb, string(tt.outcome))); n != 1 {
			t.Errorf("%s %s: %v, want 1", tt.verb, tt.outcome, n)
		}
	}
}

func TestNodesAreFollowed(t *testing.T) {
	terms := Terms{Policy: "p", Locations: []Location{grid("a", 100), grid("b", 500)}, Duration: time.Hour}
	e := newExtender(Terms{}, at("one", "a"), at("two", "b"))
	e.Terms = func(context.Context, *metav1.PartialObjectMetadata, time.Time) (Terms, error) { return terms, nil }
	expect := func(what string, want map[string]int64) {
		t.Helper()
		if diff := cmp.Diff(want, points(t, e, "one", "two", "three")); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	expect("at first", map[string]int64{"one": 10, "two": 0, "three": 0})
	e.Nodes.OnAdd(at("three", "a"), false)
	expect("a new node", map[string]int64{"one": 10, "two": 0, "three": 10})
	e.Nodes.OnUpdate(at("one", "a"), at("one", "b"))
	expect("a node that moves", map[string]int64{"one": 0, "two": 0, "three": 10})
	e.Nodes.OnUpdate(at("two", "b"), at("two", "b", v1alpha1.PowerFactorKey, "0.2"))
	expect("a node that is now efficient", map[string]int64{"one": 0, "two": 10, "three": 10})
	e.Nodes.OnDelete(cache.DeletedFinalStateUnknown{Key: "three", Obj: at("three", "a")})
	expect("a node that is gone", map[string]int64{"one": 0, "two": 10, "three": 0})
	terms.Locations = []Location{grid("b", 20), grid("c", 200)}
	expect("a policy that changes", map[string]int64{"one": 0, "two": 10, "three": 0})
	e.Nodes.Forget("p")
	e.Nodes.OnDelete("no object")
	e.Nodes.OnAdd("no object", false)
	expect("and is forgotten", map[string]int64{"one": 0, "two": 10, "three": 0})
}

func TestTheMapOfAPolicyIsDeletedWithThePolicy(t *testing.T) {
	for name, deleted := range map[string]any{
		"a deletion that was seen":   &metav1.ObjectMeta{Name: "p"},
		"a deletion that was missed": cache.DeletedFinalStateUnknown{Key: "p"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newExtender(Terms{Policy: "p", Locations: []Location{grid("a", 100), grid("b", 500)}, Duration: time.Hour}, at("a", "a"))
			pointsOf(t, e.Handler(), []string{"a"})
			handler := e.Nodes.PolicyHandler()
			handler.OnDelete(&metav1.ObjectMeta{Name: "another"})
			if len(e.Nodes.maps) != 1 {
				t.Fatal("the map of a policy is deleted with another policy")
			}
			handler.OnDelete(deleted)
			if len(e.Nodes.maps) != 0 {
				t.Error("the map of a policy outlives the policy")
			}
		})
	}
}

// TestRequestsWhileNodesAndPoliciesChange has requests meet changes of nodes and policies. Each answer
// must be right for one of the states that there were, and the last answer for the last state.
func TestRequestsWhileNodesAndPoliciesChange(t *testing.T) {
	all := []Location{grid("a", 100), grid("b", 300), grid("c", 500)}
	var locations atomic.Int32
	locations.Store(3)
	e := newExtender(Terms{}, at("a", "a"), at("c", "c"))
	e.Terms = func(context.Context, *metav1.PartialObjectMetadata, time.Time) (Terms, error) {
		return Terms{Policy: "p", Locations: all[:locations.Load()], Duration: time.Hour}, nil
	}
	h, names := e.Handler(), []string{"a", "b", "c", "nobody"}
	possible := [][]int64{
		{10, 5, 0, 0}, // with three locations and b
		{10, 0, 0, 0}, // without b, or without the third location
		{0, 0, 0, 0},  // without both
	}
	var requests, changes sync.WaitGroup
	ended := make(chan struct{})
	changes.Go(func() {
		for i := int32(0); ; i++ {
			select {
			case <-ended:
				return
			default:
				e.Nodes.OnAdd(at("b", "b"), false)
				locations.Store(2 + i%2)
				e.Nodes.OnDelete(at("b", "b"))
				if i%64 == 0 {
					e.Nodes.Forget("p")
				}
			}
		}
	})
	for range 4 {
		requests.Go(func() {
			for range 100 {
				if got := pointsOf(t, h, names); !slices.ContainsFunc(possible, func(want []int64) bool { return slices.Equal(got, want) }) {
					t.Errorf("points %v fit no state that there was; possible are %v", got, possible)
					return
				}
			}
		})
	}
	requests.Wait()
	close(ended)
	changes.Wait()

	locations.Store(3)
	e.Nodes.OnAdd(at("b", "b"), false)
	if got, want := pointsOf(t, h, names), []int64{10, 5, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("points %v in the end, want %v", got, want)
	}
	e.Nodes.OnUpdate(at("b", "b"), at("b", "a"))
	if got, want := pointsOf(t, h, names), []int64{10, 10, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("points %v once b has moved to a, want %v", got, want)
	}
}

// pointsOf asks for the points of nodes. The answer must name the nodes that were asked for, in order.
func pointsOf(t *testing.T, h http.Handler, names []string) []int64 {
	t.Helper()
	w := post(h, PrioritizePath, byName(t, names...))
	list := answerOf[extenderv1.HostPriorityList](t, w)
	hosts, points := make([]string, len(list)), make([]int64, len(list))
	for i, p := range list {
		hosts[i], points[i] = p.Host, p.Score
	}
	if w.Code != http.StatusOK || !slices.Equal(hosts, names) {
		t.Errorf("status %d with the nodes %q, want %q", w.Code, hosts, names)
	}
	return points
}

func FuzzHandler(f *testing.F) {
	for _, seed := range []string{
		`{"Pod":{"metadata":{"name":"p","annotations":{"a":"b"}}},"Nodes":null,"NodeNames":["a","b"]}`,
		`{"pod":{},"nodes":{"metadata":{},"items":[{"metadata":{"name":"a"}} , {"kind":"Node","metadata":{"labels":{},"name":"b"}}]}}`,
		`{"Pod":{},"NodeNames":null}`, `{"Pod":{},"NodeNames":["\u0061","\"","é\ud83d"]}`, `{"Pod":{"metadata":[]}}`, `{"Pod":{},"Nodes":{"items":[7]}}`, ``, `null`, `[[[[`,
	} {
		f.Add([]byte(seed))
	}
	terms := Terms{Policy: "p", Locations: []Location{grid("a", 100), grid("b", 500)}, Buckets: buckets(f, "200=9,*=1"), Strict: true, Duration: time.Hour}
	h := newExtender(terms, at("a", "a"), at("b", "b")).Handler()
	f.Fuzz(func(t *testing.T, body []byte) {
		var sent extenderv1.ExtenderArgs
		known := json.Unmarshal(body, &sent) == nil && sent.NodeNames != nil && sent.Nodes == nil
		scored, filtered := post(h, PrioritizePath, body), post(h, FilterPath, body)
		if scored.Code != filtered.Code || scored.Code != http.StatusOK && scored.Code != http.StatusBadRequest {
			t.Fatalf("status %d and %d", scored.Code, filtered.Code)
		}
		if scored.Code != http.StatusOK {
			return
		}
		list := answerOf[extenderv1.HostPriorityList](t, scored)
		kept := answerOf[struct { // what a node has in it is not ours
			Nodes                      json.RawMessage
			NodeNames                  *[]string
			FailedAndUnresolvableNodes extenderv1.FailedNodesMap
		}](t, filtered)
		for i, p := range list {
			if p.Score < extenderv1.MinExtenderPriority || p.Score > extenderv1.MaxExtenderPriority {
				t.Errorf("score %d", p.Score)
			}
			if known && i < len(*sent.NodeNames) && p.Host != (*sent.NodeNames)[i] {
				t.Errorf("host %q, want %q", p.Host, (*sent.NodeNames)[i])
			}
		}
		if known && kept.NodeNames != nil && len(*sent.NodeNames) > 0 && len(*kept.NodeNames) == 0 {
			t.Error("all nodes are dropped")
		}
		if kept.NodeNames != nil {
			for name := range kept.FailedAndUnresolvableNodes {
				if slices.Contains(*kept.NodeNames, name) {
					t.Errorf("node %q is kept and dropped", name)
				}
			}
		}
	})
}
