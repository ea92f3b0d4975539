package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
	"github.com/gridlatch/gridlatch/trigger"
)

// verbatim is the object of the tutorials, word for word.
const verbatim = `apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: green-ai-training-job, namespace: ml-ops}
spec:
  scaleTargetRef: {name: model-trainer-worker}
  minReplicaCount: 0
  maxReplicaCount: 20
  triggers:
  - type: carbon-intensity
    metadata: {region: "us-west-2", emissionThreshold: "200", handler: "scaleDown"}   # or "pause"
`

// zoneOfUSWest2 is where the table of regions has us-west-2.
const zoneOfUSWest2 = "US-NW-PACW"

const (
	cleanIntensity = 100
	dirtyIntensity = 500
	threshold      = "200"
	// steadyFor is how long something must not change: longer than KEDA, the autoscaler and Gridlatch need.
	steadyFor = 4 * time.Second
	// riseTime is for the autoscaler's rise to 20, which takes it at least 30 seconds.
	riseTime = 2 * time.Minute
)

// triggerStage is a cluster on which the trigger carbon-intensity works: with KEDA's operator, webhook and metrics
// adapter, and two replicas of Gridlatch behind one address.
type triggerStage struct {
	cluster  *env.Cluster
	keda     *env.WholeKEDA
	grid     *grid
	replicas []*env.Controller
	// service stands for the Service of the scalers.
	service *env.Link
	scalers []string // the addresses of the replicas' scalers
	flags   []string
}

// newTriggerStage calls before when KEDA runs, and then installs Gridlatch.
func newTriggerStage(t *testing.T, before func(*triggerStage)) *triggerStage {
	t.Helper()
	t.Parallel()
	c := env.Start(t, env.Nodes(2), env.QuickAutoscaler())
	if err := v1alpha1.AddToScheme(c.Client.Scheme()); err != nil {
		t.Fatal(err)
	}
	s := &triggerStage{cluster: c, grid: &grid{cluster: c}, keda: c.WholeKEDA(t)}
	c.KEDAWebhook(t)
	before(s)
	for range 2 {
		port, err := env.ReservePort()
		if err != nil {
			t.Fatal(err)
		}
		s.scalers = append(s.scalers, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	var err error
	if s.service, err = env.NewLink("127.0.0.1:0", s.scalers...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.service.Close() })
	// The certificate is for the name.
	s.flags = []string{"--scaler-address=" + s.address(), "--ceiling-lower-interval=0s"}
	s.replicas = append(s.replicas, c.Gridlatch(t, s.flagsOf(0)...))
	other, err := env.ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	s.replicas = append(s.replicas, c.Controller(t, other, s.flagsOf(1)...))
	return s
}

// address is what rewritten triggers name.
func (s *triggerStage) address() string {
	return strings.Replace(s.service.Address, "127.0.0.1", "localhost", 1)
}

// flagsOf are the flags of a replica.
func (s *triggerStage) flagsOf(replica int) []string {
	return append([]string{"--scaler-bind-address=" + s.scalers[replica]}, s.flags...)
}

// site makes a place for a story, whose policy has its name, and its location.
func (s *triggerStage) site(t *testing.T) *site {
	t.Helper()
	made := newSite(t, s.cluster, s.replicas[0], s.grid)
	made.policy(t)
	return made
}

// siteTrigger makes a trigger as people write it, with further keys and values.
func siteTrigger(s *site, further ...string) map[string]any {
	metadata := map[string]any{"policy": s.name, "emissionThreshold": threshold}
	for i := 0; i < len(further); i += 2 {
		metadata[further[i]] = further[i+1]
		if further[i+1] == "" {
			delete(metadata, further[i])
		}
	}
	return map[string]any{"type": trigger.Type, "metadata": metadata}
}

// impatient makes a ScaledObject of 0 to 5 replicas that is scaled down without a wait.
func impatient(s *site, name string, triggers ...map[string]any) *unstructured.Unstructured {
	o := env.ScaledObject(s.name, name, 0, 5)
	setTriggers(o, triggers...)
	spec := o.Object["spec"].(map[string]any)
	spec["pollingInterval"], spec["cooldownPeriod"] = int64(1), int64(1)
	return o
}

func setTriggers(o *unstructured.Unstructured, triggers ...map[string]any) {
	var list []any
	for _, t := range triggers {
		list = append(list, t)
	}
	o.Object["spec"].(map[string]any)["triggers"] = list
}

// put creates an object of KEDA's, with the Deployment of its name.
func put(t *testing.T, s *site, o *unstructured.Unstructured) {
	t.Helper()
	create(t, s.cluster, env.Deployment(s.name, o.GetName()), o)
}

func triggersOf(o *unstructured.Unstructured) []any {
	triggers, _, _ := unstructured.NestedSlice(o.Object, "spec", "triggers") // none if there are none
	return triggers
}

// triggerTypes returns the types of an object's triggers.
func triggerTypes(o *unstructured.Unstructured) []string {
	var types []string
	for _, t := range triggersOf(o) {
		name, _, _ := unstructured.NestedString(t.(map[string]any), "type")
		types = append(types, name)
	}
	return types
}

// awaitTypes waits until an object has triggers of these types.
func awaitTypes(t *testing.T, c *env.Cluster, o *unstructured.Unstructured, want ...string) {
	t.Helper()
	awaitObject(t, c, o, func() error {
		if diff := cmp.Diff(want, triggerTypes(o)); diff != "" {
			return fmt.Errorf("the types of the triggers: %s", diff)
		}
		return nil
	})
}

// awaitScale waits until a Deployment is to have so many replicas.
func awaitScale(t *testing.T, c *env.Cluster, key client.ObjectKey, want int32, timeout time.Duration) {
	t.Helper()
	began := time.Now()
	env.Eventually(t, timeout, func(ctx context.Context) error {
		var d appsv1.Deployment
		err := c.Client.Get(ctx, key, &d)
		if err == nil && *d.Spec.Replicas != want {
			err = fmt.Errorf("%s has %d replicas, want %d", key, *d.Spec.Replicas, want)
		}
		return err
	})
	t.Logf("%s has %d replicas after %s", key.Name, want, time.Since(began).Round(time.Millisecond))
}

// keepsScale fails the test if a Deployment does not have so many replicas for a while.
func keepsScale(t *testing.T, c *env.Cluster, key client.ObjectKey, want int32) {
	t.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	stays(t, c, d, steadyFor, func() error {
		if got := *d.Spec.Replicas; got != want {
			return fmt.Errorf("%s has %d replicas, want %d", key, got, want)
		}
		return nil
	})
}

// awaitEventSaying waits until an object has an Event of a reason with such a text.
func awaitEventSaying(t *testing.T, c *env.Cluster, o client.Object, reason, text string) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		var list corev1.EventList
		if err := c.Client.List(ctx, &list, client.InNamespace(o.GetNamespace())); err != nil {
			return err
		}
		var told []string
		for _, e := range list.Items {
			if e.InvolvedObject.UID == o.GetUID() && e.Reason == reason && strings.Contains(e.Message, text) {
				return nil
			}
			told = append(told, e.InvolvedObject.Name+": "+e.Reason+": "+e.Message)
		}
		return fmt.Errorf("no Event %s with %q on %s, but %q", reason, text, o.GetName(), told)
	})
}

// parse reads an object as people write it.
func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

// apply has kubectl apply an object as people write it.
func apply(t *testing.T, c *env.Cluster, text string) {
	t.Helper()
	if _, err := c.KubectlInput(t.Context(), text, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// loadServer has env.LoadTrigger ask for as many replicas as that.
func loadServer(t *testing.T, load int) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"load":%d}`, load)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// patchOfTriggers is a merge patch that writes the triggers of an object.
func patchOfTriggers(t *testing.T, o *unstructured.Unstructured) string {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"triggers": triggersOf(o)}})
	if err != nil {
		t.Fatal(err)
	}
	return string(patch)
}

// awaitRewriting waits until the webhook replaces triggers, which it does not before KEDA can trust the scaler.
func awaitRewriting(t *testing.T, c *env.Cluster) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		probe := env.ScaledObject("default", "probe", 0, 5)
		setTriggers(probe, map[string]any{"type": trigger.Type, "metadata": map[string]any{"emissionThreshold": threshold}})
		if err := c.Client.Create(ctx, probe, client.DryRunAll); err != nil {
			return err
		}
		if types := triggerTypes(probe); types[0] == trigger.Type {
			return fmt.Errorf("the webhook does not replace triggers yet")
		}
		return nil
	})
}
