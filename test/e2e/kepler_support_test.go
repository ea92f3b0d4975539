package e2e

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/gridlatch/gridlatch/test/env"
)

// kepler stands for Kepler on the nodes of a cluster, whose pods use no power in truth. It serves the counters of pods
// by their UIDs, from when they run until a few seconds after their end, as Kepler does.
type kepler struct {
	server *httptest.Server
	// isSeen reports whether the i-th pod of a Job is measured.
	isSeen func(job string, i int) bool

	mu    sync.Mutex
	pods  map[types.UID]*meteredPod
	ofJob map[string]int
}

// meteredPod is a pod that runs, or has run, on a node that has meters.
type meteredPod struct {
	namespace, name, job string
	isSeen               bool
	watts                float64 // on average
	start, end           time.Time
}

// terminatedFor is for how long a pod that has ended is served.
const terminatedFor = 3 * time.Second

// joules returns what the pod has used: its power goes up and down.
func (p *meteredPod) joules(now time.Time) float64 {
	if !p.end.IsZero() {
		now = p.end
	}
	seconds := now.Sub(p.start).Seconds()
	return p.watts * (seconds + 2*(1-math.Cos(seconds/4)))
}

// startKepler serves the counters of the pods of a cluster for as long as the test.
func startKepler(t *testing.T, c *env.Cluster, isSeen func(job string, i int) bool) *kepler {
	t.Helper()
	k := &kepler{isSeen: isSeen, pods: map[types.UID]*meteredPod{}, ofJob: map[string]int{}}
	clientset, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	factory := informers.NewSharedInformerFactory(clientset, 0)
	if _, err := factory.Core().V1().Pods().Informer().AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: k.see, UpdateFunc: func(_, o any) { k.see(o) },
	}); err != nil {
		t.Fatal(err)
	}
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	k.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, k.text(time.Now()))
	}))
	t.Cleanup(k.server.Close)
	return k
}

func (k *kepler) target() string { return strings.TrimPrefix(k.server.URL, "http://") }

// see notes when a pod of a Job starts and ends, by the clock of the nodes.
func (k *kepler) see(o any) {
	pod, now := o.(*corev1.Pod), time.Now()
	job := pod.Labels[batchv1.JobNameLabel]
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.pods[pod.UID]
	switch phase := pod.Status.Phase; {
	case job == "":
	case p == nil && phase == corev1.PodRunning:
		i := k.ofJob[job]
		k.ofJob[job]++
		k.pods[pod.UID] = &meteredPod{
			namespace: pod.Namespace, name: pod.Name, job: job, isSeen: k.isSeen(job, i), watts: 40 + 25*float64(i), start: now,
		}
	case p != nil && p.end.IsZero() && (phase == corev1.PodSucceeded || phase == corev1.PodFailed):
		p.end = now
	}
}

// text returns the counters as they are now. The zones overlap: package has core.
func (k *kepler) text(now time.Time) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := &strings.Builder{}
	for uid, p := range k.pods {
		state := "running"
		if !p.end.IsZero() {
			state = "terminated"
		}
		if !p.isSeen || state == "terminated" && now.Sub(p.end) > terminatedFor {
			continue
		}
		if p.job == jobOfOldKepler {
			fmt.Fprintf(b, "kepler_container_joules_total{container_id=\"c\",container_name=\"work\",container_namespace=%q,pod_name=%q,mode=\"dynamic\"} %g\n",
				p.namespace, p.name, p.joules(now))
			continue
		}
		for zone, share := range map[string]float64{"package": 0.8, "dram": 0.2, "core": 0.6, "uncore": 0.1} {
			fmt.Fprintf(b, "kepler_pod_cpu_joules_total{pod_id=%q,pod_name=%q,pod_namespace=%q,state=%q,node_name=\"n\",zone=%q} %g\n",
				uid, p.name, p.namespace, state, zone, share*p.joules(now))
		}
	}
	return b.String()
}

// truth returns what the pods of a Job have used.
func (k *kepler) truth(job string) (joules float64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.pods {
		if p.job == job {
			joules += p.joules(time.Now())
		}
	}
	return joules
}

// jobOfOldKepler is the Job on whose node a Kepler before 0.10 runs.
const jobOfOldKepler = "old-kepler"

// awaitScraped waits until a Prometheus has a last sample of a Job that has ended.
func awaitScraped(t *testing.T, p *env.Prometheus, job string) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		found, err := p.Query(ctx, fmt.Sprintf(`last_over_time(kepler_pod_cpu_joules_total{state="terminated",pod_name=~"%s-.*"}[1m])`, job))
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("no sample of the terminated pods of %s", job)
		}
		return err
	})
}
