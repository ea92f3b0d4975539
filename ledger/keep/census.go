package keep

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"
	"k8s.io/component-helpers/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/ledger"
)

const (
	// censusInterval is how often the pods of the cluster are counted. All of them are read, page by page.
	censusInterval = time.Hour
	censusPageSize = 500
	// censusTimeout bounds a count. A pass waits for it.
	censusTimeout = time.Minute
)

// countPods adds a census to today's page once an hour. A sample stands for the time since the one before,
// and for two hours at most: nobody knows what ran while nobody led.
func (k *Keeper) countPods(ctx context.Context, now time.Time) error {
	last := k.shelf.censusUntil
	if k.Pods == nil || now.Sub(last) < censusInterval {
		return nil
	}
	span := censusInterval
	if !last.IsZero() {
		span = min(now.Sub(last), 2*censusInterval)
	}
	ctx, cancel := context.WithTimeout(ctx, censusTimeout)
	defer cancel()
	census, err := takeCensus(ctx, k.Pods, span)
	if err != nil {
		return err
	}
	census.Until = now
	return k.shelf.addCensus(ctx, census)
}

// takeCensus counts what the pods that run request now. The sample stands for a span of time. reader reads
// from the API server, not from a cache: Gridlatch caches only the pods that it has decided on.
func takeCensus(ctx context.Context, reader client.Reader, span time.Duration) (ledger.Census, error) {
	census := ledger.Census{Samples: 1}
	running := fields.OneTermEqualSelector("status.phase", string(corev1.PodRunning))
	pages := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		var page corev1.PodList
		return &page, reader.List(ctx, &page, &client.ListOptions{FieldSelector: running, Limit: o.Limit, Continue: o.Continue})
	})
	pages.PageSize, pages.PageBufferSize = censusPageSize, 0
	err := pages.EachListItem(ctx, metav1.ListOptions{}, func(object runtime.Object) error {
		if pod, ok := object.(*corev1.Pod); ok {
			census.Count(requestedCores(pod), span, isElastic(pod), pod.Annotations[v1alpha1.StartedAnnotation] != "")
		}
		return nil
	})
	if err != nil {
		return ledger.Census{}, fmt.Errorf("count the pods that run: %w", err)
	}
	return census, nil
}

// isElastic reports whether a pod asked to wait, or is audited.
func isElastic(pod *corev1.Pod) bool { return pod.Labels[v1alpha1.StateLabel] != "" }

// requestedCores returns the cores that the scheduler reserves for a pod.
func requestedCores(pod *corev1.Pod) float64 {
	requests := resource.PodRequests(pod, resource.PodResourcesOptions{})
	return requests.Cpu().AsApproximateFloat64()
}
