package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

func TestReleasedPodsGoToTheCleanestNodes(t *testing.T) {
	x := newExtender(t)
	thenRefuse(t, x)
	c := regionCluster(t, x)
	g := c.Gridlatch(t, x.Flag())
	regionPolicy(t, c, "default")
	regionPolicy(t, c, "stepped", v1alpha1.Bucket{UpTo: ptr(int32(200)), Ceiling: 100}, v1alpha1.Bucket{UpTo: ptr(int32(300)), Ceiling: 100}, v1alpha1.Bucket{UpTo: ptr(int32(1000)), Ceiling: 100})
	anHour := tolerant(v1alpha1.DurationAnnotation, "1h", v1alpha1.DeadlineAnnotation, "12h")

	t.Run("ordinary pods go wherever they would, and nobody asks", func(t *testing.T) {
		hourly(t, c, []float64{900, 900, 100}, []float64{300, 300, 100}, []float64{500, 500, 100})
		before := asked(t, g)
		ns := namespace(t, c)
		for i := range 30 {
			create(t, c, pod(ns, fmt.Sprint("ordinary-", i), nil))
		}
		if at := whereTo(t, c, ns, 30); len(at) < 2 {
			t.Errorf("they are at %v only", at)
		}
		if after := asked(t, g); after != before {
			t.Errorf("the scheduler has asked %v times", after-before)
		}
	})
	t.Run("what was held", func(t *testing.T) {
		hourly(t, c, []float64{900, 900, 100}, []float64{900, 900, 100}, []float64{900, 900, 100})
		ns := namespace(t, c)
		create(t, c, job(ns, "held", anHour, 20))
		for _, p := range awaitGated(t, c, ns, 20) {
			if got, ok := p.Spec.Containers[0].Resources.Limits[v1alpha1.PlacementResource]; !ok || !got.IsZero() {
				t.Fatalf("pod %s is not marked: %+v", p.Name, p.Spec.Containers[0].Resources)
			}
		}
		hourly(t, c, []float64{400, 800}, []float64{300, 800}, []float64{100, 800})
		if diff := cmp.Diff(map[string]int{"east": 20}, whereTo(t, c, ns, 20)); diff != "" {
			t.Error(diff)
		}
		described, err := c.Kubectl(t.Context(), "describe", "pods", "-n", ns)
		if err != nil || !strings.Contains(described, "gridlatch.dev/placement:  0") {
			t.Errorf("kubectl describe does not show the mark: %v\n%s", err, described)
		}
	})
	t.Run("what starts at once, by its own word and by its Job's", func(t *testing.T) {
		hourly(t, c, []float64{100, 800}, []float64{300, 800}, []float64{400, 800})
		ns := namespace(t, c)
		create(t, c, job(ns, "at-once", anHour, 10), pod(ns, "bare", anHour))
		if diff := cmp.Diff(map[string]int{"west": 11}, whereTo(t, c, ns, 11)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("by the mean over its duration, not by what is now", func(t *testing.T) {
		hourly(t, c, []float64{200, 900, 900, 900}, []float64{300, 300, 900, 900}, []float64{900, 900, 900, 900})
		ns := namespace(t, c)
		create(t, c, job(ns, "long", tolerant(v1alpha1.DurationAnnotation, "2h", v1alpha1.DeadlineAnnotation, "2h10m"), 5))
		if diff := cmp.Diff(map[string]int{"north": 5}, whereTo(t, c, ns, 5)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("efficient nodes make a dirtier grid the better one", func(t *testing.T) { testFactors(t, c) })
	t.Run("spills over to the next cleanest when the cleanest is full", func(t *testing.T) {
		hourly(t, c, []float64{400, 800}, []float64{100, 800}, []float64{250, 800})
		ns := namespace(t, c)
		ofWidth(t, c, ns, nodesOfRegion+4, 40, anHour)
		if diff := cmp.Diff(map[string]int{"north": nodesOfRegion, "east": 4}, whereTo(t, c, ns, nodesOfRegion+4)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a pinned pod goes where it wants to", func(t *testing.T) {
		ns := namespace(t, c)
		create(t, c, pod(ns, "pinned", tolerant(v1alpha1.DurationAnnotation, "1h", v1alpha1.DeadlineAnnotation, "62m", v1alpha1.LocationAnnotation, "west")))
		if diff := cmp.Diff(map[string]int{"west": 1}, whereTo(t, c, ns, 1)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a quota, a LimitRange and the QoS class do not mind the mark", func(t *testing.T) { testMark(t, c) })
	t.Run("strict work says which nodes are too dirty", func(t *testing.T) { testStrict(t, c, g) })
	t.Run("by a second scheduler", func(t *testing.T) { testSecond(t, x, c, g) })
}

// testFactors has two nodes in the east get by on a tenth of the power. Then the
// east is the place to wait for, and to run in, for as long as there is room on
// these two; and never for pods that may not run on them.
func testFactors(t *testing.T, c *env.Cluster) {
	const pool, efficient = "example.com/pool", "efficient"
	east := nodesIn(t, c, "east")
	setNode(t, c, east[0], "labels", pool, efficient, v1alpha1.PowerFactorKey, "0.1")
	setNode(t, c, east[1], "labels", pool, efficient)
	setNode(t, c, east[1], "annotations", v1alpha1.PowerFactorKey, "0.1")
	t.Cleanup(func() {
		for _, name := range east[:2] {
			setNode(t, c, name, "labels", v1alpha1.PowerFactorKey, "")
			setNode(t, c, name, "annotations", v1alpha1.PowerFactorKey, "")
		}
	})
	hourly(t, c, []float64{900, 120, 900}, []float64{900, 300, 900}, []float64{900, 450, 900})
	ns := namespace(t, c)
	elsewhere := job(ns, "elsewhere", tolerant(v1alpha1.DurationAnnotation, "1h", v1alpha1.DeadlineAnnotation, "12h"), 3)
	elsewhere.Spec.Template.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
			{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: pool, Operator: corev1.NodeSelectorOpNotIn, Values: []string{efficient}}}},
		}},
	}}
	create(t, c, elsewhere)
	ofWidth(t, c, ns, 4, 40, tolerant(v1alpha1.DurationAnnotation, "1h", v1alpha1.DeadlineAnnotation, "12h")) // one fits on a node
	for _, p := range awaitGated(t, c, ns, 7) {
		want, why := "east", "450 gCO2eq/kWh x 0.1 in east"
		if strings.HasPrefix(p.Name, "elsewhere") {
			want, why = "west", "120 gCO2eq/kWh in west"
		}
		if got, reason := p.Annotations[v1alpha1.PlannedLocationAnnotation], p.Annotations[v1alpha1.ReasonAnnotation]; got != want || !strings.Contains(reason, why) {
			t.Errorf("%s is planned for %s, want %s: %s", p.Name, got, want, reason)
		}
	}
	hourly(t, c, []float64{120, 900}, []float64{300, 900}, []float64{450, 900})
	got, onEfficient := whereTo(t, c, ns, 7), map[string]bool{}
	for _, p := range awaitScheduled(t, c, ns, 7, patience) {
		if p.Spec.NodeName == east[0] || p.Spec.NodeName == east[1] {
			onEfficient[p.Name] = true
		}
	}
	if diff := cmp.Diff(map[string]int{"east": 2, "west": 5}, got); diff != "" || len(onEfficient) != 2 {
		t.Error(diff, onEfficient)
	}
}

// testSecond runs the second scheduler with the rights and the configuration that
// it is shipped with; only addresses are those of this machine.
func testSecond(t *testing.T, x *env.Extender, c *env.Cluster, g *env.Controller) {
	const name = "gridlatch-scheduler"
	if _, err := c.Kubectl(t.Context(), "apply", "--validate=strict", "-f", "../../manifests/components/extender/second-scheduler.yaml"); err != nil {
		t.Fatal(err)
	}
	var shipped corev1.ConfigMap
	if err := c.Client.Get(t.Context(), client.ObjectKey{Namespace: env.Namespace, Name: name}, &shipped); err != nil {
		t.Fatal(err)
	}
	account, err := c.ServiceAccountConfig(t.Context(), env.Namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := env.WriteKubeconfig(account, kubeconfig); err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("gridlatch.gridlatch-system.svc:9444", "127.0.0.1:"+strconv.Itoa(x.Port), "/ca/tls.crt", filepath.Join(x.Dir, "tls.crt")).
		Replace(shipped.Data["scheduler.yaml"])
	config := filepath.Join(dir, "scheduler.yaml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	scheduler, err := c.RunScheduler(name, kubeconfig, config, filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := scheduler.Stop(); err != nil {
			t.Error(err)
		}
	})
	hourly(t, c, []float64{300, 800}, []float64{400, 800}, []float64{100, 800})
	ns, before := namespace(t, c), asked(t, g)
	for i := range 10 {
		p := pod(ns, fmt.Sprint("pod-", i), tolerant(v1alpha1.DurationAnnotation, "1h", v1alpha1.DeadlineAnnotation, "12h"))
		p.Spec.SchedulerName = name
		create(t, c, p)
	}
	if diff := cmp.Diff(map[string]int{"east": 10}, whereTo(t, c, ns, 10)); diff != "" {
		t.Error(diff)
	}
	if n := asked(t, g) - before; n < 10 { // what is pending elsewhere is asked about again
		t.Errorf("it has asked %v times, want once for each of 10 pods", n)
	}
}

// testMark runs a marked pod where everything is limited.
func testMark(t *testing.T, c *env.Cluster) {
	ns := namespace(t, c)
	for _, manifest := range []string{
		`{"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"q"},"spec":{"hard":{"requests.cpu":"2","limits.cpu":"4","pods":"5","requests.gridlatch.dev/placement":"0"}}}`,
		`{"apiVersion":"v1","kind":"LimitRange","metadata":{"name":"l"},"spec":{"limits":[{"type":"Container","default":{"cpu":"1","memory":"1Gi"},"defaultRequest":{"cpu":"1","memory":"1Gi"},"max":{"cpu":"2","memory":"2Gi"}}]}}`,
	} {
		if _, err := c.KubectlInput(t.Context(), manifest, "apply", "-n", ns, "-f", "-"); err != nil {
			t.Fatal(err)
		}
	}
	create(t, c, pod(ns, "limited", tolerant(v1alpha1.DeadlineAnnotation, "3m", v1alpha1.DurationAnnotation, "2m")))
	p := awaitScheduled(t, c, ns, 1, patience)[0]
	if _, ok := p.Spec.Containers[0].Resources.Requests[v1alpha1.PlacementResource]; !ok {
		t.Errorf("not marked: %+v", p.Spec.Containers[0].Resources)
	}
	if p.Status.QOSClass != corev1.PodQOSGuaranteed {
		t.Errorf("QoS class %s, want %s", p.Status.QOSClass, corev1.PodQOSGuaranteed)
	}
}

// testStrict has another extender refuse what ours leaves of some pods: only a
// pod that fits nowhere says why.
func testStrict(t *testing.T, c *env.Cluster, g *env.Controller) {
	hourly(t, c, []float64{150, 800}, []float64{250, 800}, []float64{500, 800})
	ns := namespace(t, c)
	strict := tolerant(v1alpha1.DurationAnnotation, "1h", v1alpha1.DeadlineAnnotation, "12h", v1alpha1.PolicyAnnotation, "stepped", v1alpha1.PlacementAnnotation, v1alpha1.PlacementStrict)
	ofWidth(t, c, ns, nodesOfRegion, 1, strict)
	if diff := cmp.Diff(map[string]int{"west": nodesOfRegion}, whereTo(t, c, ns, nodesOfRegion)); diff != "" {
		t.Error(diff)
	}
	if n, err := g.Metric(t.Context(), "gridlatch_extender_nodes_total", `outcome="dropped"`); err != nil || n != 2*nodesOfRegion*nodesOfRegion {
		t.Errorf("%v nodes were dropped, %v; want the %d of two regions for each pod", n, err, 2*nodesOfRegion)
	}
	refused := pod(ns, "refused", strict)
	none := corev1.ResourceList{refusedResource: resource.Quantity{}}
	refused.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: none, Limits: none}
	create(t, c, refused)
	for _, want := range []string{
		"10 node(s) at grid location east in bucket >300, while west is in <=200",
		"10 node(s) at grid location north in bucket <=300, while west is in <=200",
		"10 refused by a test",
	} {
		env.Eventually(t, patience, func(ctx context.Context) error {
			described, err := c.Kubectl(ctx, "describe", "pod", "refused", "-n", ns)
			if err == nil && !strings.Contains(described, want) {
				err = fmt.Errorf("kubectl describe does not say %q:\n%s", want, described)
			}
			return err
		})
	}
	if err := c.Client.Create(t.Context(), pod(ns, "wrong", tolerant(v1alpha1.PlacementAnnotation, "always"))); err == nil ||
		!strings.Contains(err.Error(), `metadata.annotations[gridlatch.dev/placement]: Invalid value: "always": want "preferred" or "strict"`) {
		t.Errorf("%v", err)
	}
}

// refusedResource marks pods of which an extender of the tests refuses every node.
const refusedResource = "example.com/refused"

// thenRefuse gives the scheduler another extender, which is asked after ours.
func thenRefuse(t *testing.T, x *env.Extender) {
	t.Helper()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var args extenderv1.ExtenderArgs
		_ = json.NewDecoder(r.Body).Decode(&args)
		result := extenderv1.ExtenderFilterResult{NodeNames: &[]string{}, FailedNodes: extenderv1.FailedNodesMap{}}
		for _, name := range *args.NodeNames {
			result.FailedNodes[name] = "refused by a test"
		}
		_ = json.NewEncoder(w).Encode(result)
	}), ReadHeaderTimeout: time.Second}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	configure(t, x, func(config string) string {
		return config + fmt.Sprintf("- {urlPrefix: \"http://%s\", filterVerb: filter, ignorable: true, nodeCacheCapable: true, managedResources: [{name: %s, ignoredByScheduler: true}]}\n",
			listener.Addr(), refusedResource)
	})
}
