package e2e

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

// A grid is the forecast of a cluster, which several tests write: each has a
// location of its own, the name of its namespace.
type grid struct {
	cluster   *env.Cluster
	mu        sync.Mutex
	locations map[string][]env.Element
}

// set gives a location one intensity for hours.
func (g *grid) set(t *testing.T, location string, intensity float64) {
	t.Helper()
	g.write(t, location, env.Elements(location, time.Now().Add(-time.Hour), 6*time.Hour, intensity)...)
}

// disturb has somebody else write the ConfigMap.
func (g *grid) disturb(t *testing.T, write func(context.Context) error) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := write(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// write replaces what is forecast for a location.
func (g *grid) write(t *testing.T, location string, elements ...env.Element) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.locations == nil {
		g.locations = map[string][]env.Element{}
	}
	g.locations[location] = elements
	all := slices.Concat(slices.Collect(maps.Values(g.locations))...)
	if err := g.cluster.Forecast(t.Context(), all...); err != nil {
		t.Fatal(err)
	}
}

// scaledObject creates a ScaledObject and its Deployment, and waits for the
// autoscaler that KEDA makes of it.
func scaledObject(t *testing.T, c *env.Cluster, ns, name string, want, ceiling int64, annotations map[string]string) *unstructured.Unstructured {
	t.Helper()
	o := env.ScaledObject(ns, name, want, ceiling)
	o.SetAnnotations(annotations)
	create(t, c, env.Deployment(ns, name), o)
	env.Eventually(t, patience, func(ctx context.Context) error {
		return c.Client.Get(ctx, hpaKey(o), &autoscalingv2.HorizontalPodAutoscaler{})
	})
	return o
}

func hpaKey(o client.Object) client.ObjectKey {
	return client.ObjectKey{Namespace: o.GetNamespace(), Name: "keda-hpa-" + o.GetName()}
}

// awaitCeiling waits until KEDA's autoscaler may go as far as that, and no
// farther.
func awaitCeiling(t *testing.T, c *env.Cluster, o client.Object, want int32) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		var hpa autoscalingv2.HorizontalPodAutoscaler
		err := c.Client.Get(ctx, hpaKey(o), &hpa)
		if err == nil && hpa.Spec.MaxReplicas != want {
			err = fmt.Errorf("maxReplicas is %d, want %d", hpa.Spec.MaxReplicas, want)
		}
		return err
	})
}

// awaitMax waits until an object of KEDA's says so itself.
func awaitMax(t *testing.T, c *env.Cluster, o *unstructured.Unstructured, want int64) {
	t.Helper()
	awaitObject(t, c, o, func() error {
		if got := maxReplicas(o); got != want {
			return fmt.Errorf("maxReplicaCount is %d, want %d; annotations: %v", got, want, o.GetAnnotations())
		}
		return nil
	})
}

// awaitObject reads an object until check has nothing to say.
func awaitObject(t *testing.T, c *env.Cluster, o client.Object, check func() error) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		return check()
	})
}

// stays fails the test if check has something to say within a time.
func stays(t *testing.T, c *env.Cluster, o client.Object, during time.Duration, check func() error) {
	t.Helper()
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatal(err)
		}
		if err := check(); err != nil {
			t.Fatal(err)
		}
	}
}

func maxReplicas(o *unstructured.Unstructured) int64 {
	value, _, _ := unstructured.NestedInt64(o.Object, "spec", "maxReplicaCount") // 0 if it is none
	return value
}

// amend patches an object, as its owner would.
func amend(t *testing.T, c *env.Cluster, o client.Object, mergePatch string) {
	t.Helper()
	if err := c.Client.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(mergePatch))); err != nil {
		t.Fatal(err)
	}
}

// jobsOf returns the names of the Jobs that KEDA has made for a ScaledJob.
func jobsOf(ctx context.Context, c *env.Cluster, o client.Object) ([]string, error) {
	var list batchv1.JobList
	err := c.Client.List(ctx, &list, client.InNamespace(o.GetNamespace()), client.MatchingLabels{"scaledjob.keda.sh/name": o.GetName()})
	var names []string
	for _, j := range list.Items {
		names = append(names, j.Name)
	}
	return names, err
}

// awaitScaled waits until KEDA has made so many Jobs, or more: it makes one too
// many if it looks again before it has seen the last one.
func awaitScaled(t *testing.T, c *env.Cluster, o client.Object, want int) []string {
	t.Helper()
	var names []string
	env.Eventually(t, patience, func(ctx context.Context) (err error) {
		if names, err = jobsOf(ctx, c, o); err == nil && len(names) < want {
			err = fmt.Errorf("there are %d Jobs, want %d", len(names), want)
		}
		return err
	})
	return names
}

// expectJobs fails the test if one of the Jobs does not live for longer than it
// would take KEDA to delete it.
func expectJobs(t *testing.T, c *env.Cluster, o client.Object, jobs []string) {
	t.Helper()
	time.Sleep(killed)
	now, err := jobsOf(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, job := range jobs {
		if !slices.Contains(now, job) {
			t.Errorf("Job %s has been deleted; there are %q", job, now)
		}
	}
}

// A site is where a story is told: a namespace, and a policy and a location of
// its name.
type site struct {
	cluster    *env.Cluster
	controller *env.Controller
	grid       *grid
	name       string
}

func newSite(t *testing.T, c *env.Cluster, g *env.Controller, forecast *grid) *site {
	t.Helper()
	return &site{cluster: c, controller: g, grid: forecast, name: namespace(t, c)}
}

// awaitWarning waits until an object has a warning with such a text.
func awaitWarning(t *testing.T, s *site, o client.Object, reason, text string) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		var list corev1.EventList
		if err := s.cluster.Client.List(ctx, &list, client.InNamespace(o.GetNamespace())); err != nil {
			return err
		}
		var told []string
		for _, e := range list.Items {
			if e.InvolvedObject.UID == o.GetUID() && e.Type == corev1.EventTypeWarning && e.Reason == reason && strings.Contains(e.Message, text) {
				return nil
			}
			told = append(told, e.InvolvedObject.Name+": "+e.Reason+": "+e.Message)
		}
		return fmt.Errorf("no Event %s with %q on %s, but %q", reason, text, o.GetName(), told)
	})
}

const (
	// lowerInterval is how soon a ceiling may be lowered again on a kedaCluster.
	lowerInterval = 3 * time.Second
	// platformNamespace is whose scalers may have targets in other namespaces.
	platformNamespace = "platform"
)

// kedaCluster gives a test a cluster with KEDA, its webhook, and Gridlatch.
func kedaCluster(t *testing.T) (*env.Cluster, *env.Controller) {
	t.Helper()
	c, g := ownCluster(t, "--ceiling-lower-interval="+lowerInterval.String(), "--ceiling-cross-namespace="+platformNamespace)
	if err := carbonaware.AddToScheme(c.Client.Scheme()); err != nil {
		t.Fatal(err)
	}
	c.KEDA(t)
	c.KEDAWebhook(t)
	return c, g
}

// carbonPolicy makes the site's policy of bounds and the ceilings up to them.
func (s *site) policy(t *testing.T, buckets ...int32) {
	t.Helper()
	p := v1alpha1.Default()
	p.Name = s.name
	p.Spec.Locations = []v1alpha1.Location{{Name: s.name}}
	for i := 0; i < len(buckets); i += 2 {
		p.Spec.Buckets = append(p.Spec.Buckets, v1alpha1.Bucket{UpTo: &buckets[i], Ceiling: buckets[i+1]})
	}
	create(t, s.cluster, p)
}

// intensity writes a forecast in which the site's location has this intensity
// for hours.
func (s *site) intensity(t *testing.T, intensity float64) {
	t.Helper()
	s.grid.set(t, s.name, intensity)
}

func (s *site) scaledObject(t *testing.T, name string, want, ceiling int64, annotations map[string]string) *unstructured.Unstructured {
	t.Helper()
	return scaledObject(t, s.cluster, s.name, name, want, ceiling, annotations)
}

// follower makes the site's policy, and a ScaledObject that has its ceiling by
// it: want, at this intensity, and 50 without.
func (s *site) follower(t *testing.T, intensity float64, want int32, buckets ...int32) *unstructured.Unstructured {
	t.Helper()
	s.policy(t, buckets...)
	s.intensity(t, intensity)
	o := s.scaledObject(t, "web", 3, 50, map[string]string{v1alpha1.PolicyAnnotation: s.name})
	awaitCeiling(t, s.cluster, o, want)
	return o
}

// annotate is a patch that sets an annotation, or takes it away.
func annotate(key, value string) string {
	if value == "" {
		return fmt.Sprintf(`{"metadata":{"annotations":{%q:null}}}`, key)
	}
	return fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, key, value)
}

func wantAnnotation(o client.Object, key, want string) func() error {
	return func() error {
		if got := o.GetAnnotations()[key]; got != want {
			return fmt.Errorf("%s is %q, want %q; all: %v", key, got, want, o.GetAnnotations())
		}
		return nil
	}
}

// specBut is the spec without what Gridlatch may change.
func specBut(o *unstructured.Unstructured) map[string]any {
	spec, _, _ := unstructured.NestedMap(o.Object, "spec") // a copy
	delete(spec, "maxReplicaCount")
	return spec
}

// awaitUntouched waits until nothing is left on an object that Gridlatch writes.
func awaitUntouched(t *testing.T, c *env.Cluster, o client.Object) {
	t.Helper()
	awaitObject(t, c, o, func() error {
		for key := range o.GetAnnotations() {
			if strings.HasPrefix(key, "gridlatch.dev/") && key != v1alpha1.PolicyAnnotation && key != v1alpha1.CeilingReleasedAnnotation || strings.Contains(key, "paused") {
				return fmt.Errorf("annotations left: %v", o.GetAnnotations())
			}
		}
		return nil
	})
}

func generationOf(t *testing.T, c *env.Cluster, o client.Object) int64 {
	t.Helper()
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		t.Fatal(err)
	}
	return o.GetGeneration()
}

// releaseAll has Gridlatch give everything back, as its service account.
func releaseAll(t *testing.T, c *env.Cluster) string {
	t.Helper()
	kubeconfig := filepath.Join(filepath.Dir(c.Kubeconfig), "gridlatch.kubeconfig")
	output, err := exec.CommandContext(t.Context(), "../../bin/gridlatch", "release", "--all", "--kubeconfig="+kubeconfig).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return string(output)
}
