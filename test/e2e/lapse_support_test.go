package e2e

import (
	"context"
	"math"
	"strconv"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/test/env"
	"github.com/gridlatch/gridlatch/test/recount"
)

// lapsedHour is how long an hour of the grid takes, and lapsedHours is how many there are: three days.
const (
	lapsedHour  = 2 * time.Second
	lapsedHours = 72
)

// lapse is a grid whose hours go by fast. What it expects of an hour is not what then is. Once the grid is revised,
// its actual intensities of some hours are others.
type lapse struct {
	start time.Time

	mu        sync.Mutex
	isRevised bool
}

// firstHour is the hour before the start from which on the grid is known.
const firstHour = -48

func (l *lapse) expected(hour int) float64 { return 300 + 150*math.Cos(2*math.Pi*float64(hour)/24) }

// actual returns what was in an hour, with two decimals.
func (l *lapse) actual(hour int) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	value := l.expected(hour) + 40*math.Sin(float64(hour)*1.9)
	if l.isRevised && hour >= 0 && hour < 60 && hour%3 == 0 {
		value *= 1.2
	}
	return math.Round(value*100) / 100
}

func (l *lapse) revise() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isRevised = true
}

func (l *lapse) at(hour int) time.Time { return l.start.Add(time.Duration(hour) * lapsedHour) }

// during returns the actual intensity in the hour of an instant.
func (l *lapse) during(at time.Time) float64 {
	return l.actual(int(math.Floor(float64(at.Sub(l.start)) / float64(lapsedHour))))
}

func (l *lapse) slots(from, to int, value func(int) float64) *forecast.Series {
	var slots []forecast.Slot
	for hour := from; hour < to; hour++ {
		slots = append(slots, forecast.Slot{Start: l.at(hour), End: l.at(hour + 1), Intensity: value(hour)})
	}
	return forecast.NewSeries(slots)
}

// publish writes what is known at this moment, as an exporter does.
func (l *lapse) publish(ctx context.Context, c *env.Cluster) error {
	now := time.Now()
	hour := int(now.Sub(l.start) / lapsedHour)
	document := forecast.Document{
		Issued:  now,
		Series:  map[string]*forecast.Series{location: l.slots(hour-1, hour+lapsedHours, l.expected)},
		Actuals: map[string]*forecast.Series{location: l.slots(firstHour, hour, l.actual)},
		Details: map[string]forecast.Details{location: {Issued: now, Origin: forecast.Origin{Provider: "Lapse", Signal: forecast.Signal{Kind: forecast.Average}}}},
	}
	return publishDocument(ctx, c, document)
}

// publishDocument writes a document in the place of the well-known forecast.
func publishDocument(ctx context.Context, c *env.Cluster, document forecast.Document) error {
	binaryData, data, err := document.ConfigMap(document.Issued)
	if err != nil {
		return err
	}
	written := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "carbon-intensity"}, BinaryData: binaryData, Data: data}
	if err := c.Client.Update(ctx, written); err == nil {
		return nil
	}
	return c.Client.Create(ctx, written)
}

// witness keeps the last that the API server told of each Job and each pod, and when the object was deleted.
type witness struct {
	mu   sync.Mutex
	jobs map[types.UID]*batchv1.Job
	pods map[types.UID]*corev1.Pod
	gone map[types.UID]time.Time
}

// watchAll starts a witness, for as long as the test.
func watchAll(t *testing.T, c *env.Cluster) *witness {
	t.Helper()
	clientset, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{jobs: map[types.UID]*batchv1.Job{}, pods: map[types.UID]*corev1.Pod{}, gone: map[types.UID]time.Time{}}
	factory := informers.NewSharedInformerFactory(clientset, 0)
	for _, informer := range []toolscache.SharedIndexInformer{factory.Batch().V1().Jobs().Informer(), factory.Core().V1().Pods().Informer()} {
		if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc: w.see, UpdateFunc: func(_, o any) { w.see(o) }, DeleteFunc: w.seeGone,
		}); err != nil {
			t.Fatal(err)
		}
	}
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	return w
}

func (w *witness) see(o any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch o := o.(type) {
	case *batchv1.Job:
		w.jobs[o.UID] = o
	case *corev1.Pod:
		w.pods[o.UID] = o
	}
}

func (w *witness) seeGone(o any) {
	if last, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = last.Obj
	}
	w.see(o)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone[o.(client.Object).GetUID()] = time.Now()
}

// works returns what was seen of each Job that has ended and ran, by its UID. open counts the Jobs that have not ended.
func (w *witness) works() (all map[types.UID]recount.Work, names map[types.UID]string, open int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all, names = map[types.UID]recount.Work{}, map[types.UID]string{}
	for uid, job := range w.jobs {
		work, hasEnded := w.workOf(job)
		switch {
		case !hasEnded:
			open++
		case len(work.Pods) > 0:
			all[uid], names[uid] = work, job.Name
		}
	}
	return all, names, open
}

func (w *witness) workOf(job *batchv1.Job) (work recount.Work, hasEnded bool) {
	work = recount.Work{Created: job.CreationTimestamp.UTC()}
	latest, err := time.Parse(time.RFC3339, job.Annotations[v1alpha1.LatestStartAnnotation])
	if err == nil {
		work.LatestStart = latest
	}
	if started, err := time.Parse(time.RFC3339, job.Annotations[v1alpha1.StartedAnnotation]); err == nil {
		work.Waited = started.Sub(work.Created)
	}
	_, isGone := w.gone[job.UID]
	hasEnded = isGone
	for _, condition := range job.Status.Conditions {
		isOver := (condition.Type == batchv1.JobComplete || condition.Type == batchv1.JobFailed) && condition.Status == corev1.ConditionTrue
		hasEnded = hasEnded || isOver
		work.Failed = work.Failed || isOver && condition.Type == batchv1.JobFailed
	}
	for uid, pod := range w.pods {
		owner := metav1.GetControllerOf(pod)
		if owner == nil || owner.UID != job.UID || pod.Status.StartTime == nil {
			continue
		}
		seen, isOver := podSeen(pod, w.gone[uid])
		work.Waited = min(work.Waited, seen.Start.Sub(work.Created)) // a pod may have come while the webhook was away
		hasEnded = hasEnded && isOver
		work.Pods = append(work.Pods, seen)
	}
	return work, hasEnded
}

// podSeen returns what a pod ran, and whether the pod has ended.
func podSeen(pod *corev1.Pod, gone time.Time) (seen recount.Pod, isOver bool) {
	seen = recount.Pod{Start: pod.Status.StartTime.UTC(), Failed: pod.Status.Phase == corev1.PodFailed, Gone: gone}
	requests := pod.Spec.Containers[0].Resources.Requests
	seen.Cores, seen.GiB = requests.Cpu().AsApproximateFloat64(), requests.Memory().AsApproximateFloat64()/(1<<30)
	for _, status := range pod.Status.ContainerStatuses {
		if ended := status.State.Terminated; ended != nil {
			seen.End = ended.FinishedAt.UTC()
			return seen, true
		}
	}
	seen.End = gone.UTC().Truncate(time.Second)
	return seen, !gone.IsZero()
}

// runsFor returns the annotations of a pod template by which simulated pods run so many seconds.
func runsFor(seconds int, fails bool) map[string]string {
	annotations := map[string]string{"kwok.gridlatch.dev/run-for": strconv.Itoa(seconds) + "s"}
	if fails {
		annotations["kwok.gridlatch.dev/fail"] = "true"
	}
	return annotations
}
