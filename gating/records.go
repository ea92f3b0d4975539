package gating

import (
	"cmp"
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/watching"
)

const (
	// heldIndex finds held objects by the policy that holds them.
	heldIndex = "gridlatch.held"
	// runningIndex finds released objects by the policy that has released them.
	runningIndex = "gridlatch.running"
	// auditedIndex finds audited objects by the policy that has audited them.
	auditedIndex = "gridlatch.audited"
	// pausableIndex finds work that runs and may be paused, by the policy that has released it.
	pausableIndex = "gridlatch.pausable"
	// recordsPageSize is how many pods or Jobs are listed at once where the API server cannot stream
	// them.
	recordsPageSize = 500
)

// Records is the cache of the pods that were decided on and have not finished, of the Jobs that were
// decided on, and of the objects of other kinds that are held whole (door.All). The watch brings whole
// objects, because only their specs and statuses have the facts. Only a record of each is kept. What is returned belongs to the cache, and nobody may write
// to it: copies of a hundred thousand pods for every pass would cost as much memory as the pods.
//
// A nil Records knows nothing.
type Records struct {
	pods, jobs recordCache
	pieces     *pieces
	wholes     []*wholes
	clientset  kubernetes.Interface // asked for what Gridlatch may do
}

// recordCache has the records of one kind, indexed by policy.
type recordCache struct {
	toolscache.Indexer
	informer toolscache.SharedIndexInformer // nil in a test that fills the indexer itself
	// synced reports whether the cache is filled, and the pieces of work know what is in the cache.
	synced toolscache.InformerSynced
}

// NewRecords returns the cache. It is filled once it is started.
func NewRecords(config *rest.Config, clock policy.Clock) (*Records, error) {
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	definitions, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	config = rest.CopyConfig(config)
	config.ContentType = runtime.ContentTypeProtobuf
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	r, err := newRecords(clientset, clock)
	if err != nil {
		return nil, err
	}
	r.wholes = newWholes(objects, definitions)
	for _, w := range r.wholes {
		w.AddHandler(r.pieces.handler(r))
	}
	return r, nil
}

func newRecords(clientset kubernetes.Interface, clock policy.Clock) (*Records, error) {
	decided := func(o *metav1.ListOptions) { o.LabelSelector = v1alpha1.StateLabel }
	unfinished := fields.AndSelectors(
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed))).String()
	pods, jobs := clientset.CoreV1().Pods(metav1.NamespaceAll), clientset.BatchV1().Jobs(metav1.NamespaceAll)
	podCache, err := newRecordCache(&corev1.Pod{}, clientset,
		func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			decided(&o)
			o.FieldSelector = unfinished
			return pods.List(ctx, o)
		},
		func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			decided(&o)
			o.FieldSelector = unfinished
			return pods.Watch(ctx, o)
		})
	if err != nil {
		return nil, err
	}
	jobCache, err := newRecordCache(&batchv1.Job{}, clientset,
		func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			decided(&o)
			return jobs.List(ctx, o)
		},
		func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			decided(&o)
			return jobs.Watch(ctx, o)
		})
	if err != nil {
		return nil, err
	}
	r := &Records{pods: podCache, jobs: jobCache, pieces: newPieces(clock), clientset: clientset}
	for _, of := range []*recordCache{&r.pods, &r.jobs} {
		registration, err := of.informer.AddEventHandler(r.pieces.handler(r))
		if err != nil {
			return nil, fmt.Errorf("follow the pieces of work: %w", err)
		}
		of.synced = registration.HasSynced
	}
	return r, nil
}

func newRecordCache(of runtime.Object, clientset kubernetes.Interface, list toolscache.ListWithContextFunc, watch toolscache.WatchFuncWithContext) (recordCache, error) {
	s := newRecordMaker()
	lists := &toolscache.ListWatch{ListWithContextFunc: watching.InPages(recordsPageSize, list, s.transform), WatchFuncWithContext: watch}
	informer := toolscache.NewSharedIndexInformer(toolscache.ToListWatcherWithWatchListSemantics(lists, clientset), of, 0, policyIndexers())
	if err := informer.SetTransform(s.transform); err != nil {
		return recordCache{}, fmt.Errorf("watch %T: %w", of, err)
	}
	return recordCache{Indexer: informer.GetIndexer(), informer: informer}, nil
}

// StaticRecords returns a cache of these pods, Jobs and objects of other kinds that are held whole. It
// never changes, and knows all kinds. It is for tests of what reads a cache.
func StaticRecords(objects ...runtime.Object) (*Records, error) {
	s, r := newRecordMaker(), &Records{pieces: newPieces(clock.RealClock{}), wholes: newWholes(nil, nil)}
	for _, of := range []*recordCache{&r.pods, &r.jobs} {
		of.Indexer = toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, policyIndexers())
	}
	for _, w := range r.wholes {
		w.right.Store(rightGiven)
		if err := w.Fill(); err != nil {
			return nil, fmt.Errorf("fill a cache: %w", err)
		}
	}
	for _, object := range objects {
		kept, _ := s.transform(object) // it never fails
		o, ok := kept.(*record)
		if !ok {
			return nil, fmt.Errorf("%T: want a pod, a Job or what is held whole", object)
		}
		of := r.cacheOf(o.GroupVersionKind().GroupKind())
		if of == nil {
			return nil, fmt.Errorf("%s: want a pod, a Job or what is held whole", o.Kind)
		}
		if err := of.Add(o); err != nil {
			return nil, fmt.Errorf("add a record: %w", err)
		}
		r.pieces.change(r, nil, o)
	}
	return r, nil
}

// cacheOf returns the records of a kind; nil if there are none of the kind.
func (r *Records) cacheOf(kind schema.GroupKind) toolscache.Indexer {
	switch kind {
	case hold.PodKind().GroupKind():
		return r.pods
	case hold.JobKind().GroupKind():
		return r.jobs
	}
	if w := r.wholesOf(kind); w != nil {
		return w.Indexer()
	}
	return nil
}

// Start fills the cache and keeps it current until the context ends; for a manager.
func (r *Records) Start(ctx context.Context) error {
	for _, w := range r.wholes {
		go w.run(ctx, r.clientset)
	}
	go r.pods.informer.RunWithContext(ctx)
	r.jobs.informer.RunWithContext(ctx)
	return nil
}

// NeedLeaderElection makes a manager run the cache in every replica: the webhook reads it.
func (r *Records) NeedLeaderElection() bool { return false }

// Synced reports whether the cache is filled with pods and Jobs. It does not wait for the other kinds:
// see CanHold.
func (r *Records) Synced() bool { return r.pods.synced() && r.jobs.synced() }

// recordSource tells a controller about the changes of one kind of records.
type recordSource struct {
	*source.TypedInformer[*record, reconcile.Request]
	synced toolscache.InformerSynced
}

// sources returns what tells handle about the changes of all records.
func (r *Records) sources(handle handler.TypedEventHandler[*record, reconcile.Request]) []source.Source {
	var all []source.Source
	for _, of := range []recordCache{r.pods, r.jobs} {
		informer := &source.TypedInformer[*record, reconcile.Request]{Informer: of.informer, Handler: handle}
		all = append(all, recordSource{informer, of.synced})
	}
	for _, w := range r.wholes {
		all = append(all, w.source(handle))
	}
	return all
}

// WaitForSync returns once the cache is filled.
func (s recordSource) WaitForSync(ctx context.Context) error {
	if !toolscache.WaitForCacheSync(ctx.Done(), s.synced) {
		return fmt.Errorf("fill the cache of what was decided on: %w", context.Cause(ctx))
	}
	return nil
}

// policyIndexers returns the indices by policy.
func policyIndexers() toolscache.Indexers {
	index := func(policies func(*record) []string) toolscache.IndexFunc {
		return func(object any) ([]string, error) {
			if r, ok := object.(*record); ok {
				return policies(r), nil
			}
			return nil, fmt.Errorf("cached is a %T", object)
		}
	}
	return toolscache.Indexers{
		heldIndex: index(holdingPolicy), runningIndex: index(releasingPolicy), auditedIndex: index(auditingPolicy),
		pausableIndex: index(pausingPolicy), elasticIndex: index(elasticPolicy),
	}
}

// list returns the records that an index has for a policy.
func (i recordCache) list(index, policy string) ([]*record, error) {
	return listRecords(i, index, policy)
}

func listRecords(of toolscache.Indexer, index, policy string) ([]*record, error) {
	objects, err := of.ByIndex(index, policy)
	if err != nil {
		return nil, fmt.Errorf("list by policy: %w", err)
	}
	list := make([]*record, 0, len(objects))
	for _, object := range objects {
		if r, ok := object.(*record); ok {
			list = append(list, r)
		}
	}
	return list, nil
}

// listOwners returns the records of Jobs, and of what else is held whole, that an index has for a policy.
func (r *Records) listOwners(index, policy string) ([]*record, error) {
	all, err := r.jobs.list(index, policy)
	if err != nil {
		return nil, err
	}
	for _, w := range r.wholes {
		more, err := listRecords(w.Indexer(), index, policy)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

// Exists reports whether a Job, or an object of another kind that is held whole, is in the cache, whatever
// its state, or whether it may exist because the cache is not filled. The kind is without its group.
func (r *Records) Exists(kind, namespace, name string, uid types.UID) bool {
	cache, isFilled := toolscache.Indexer(r.jobs), kind == hold.JobKind().Kind
	if isFilled && !r.Synced() {
		return true
	}
	for _, w := range r.wholes {
		if w.door.Kind.Kind == kind {
			if cache, isFilled = w.Indexer(), w.IsKnown(); !isFilled && !w.IsAbsent() && !w.IsForbidden() {
				return true
			}
		}
	}
	if !isFilled {
		return false
	}
	found, _, _ := cache.GetByKey(namespace + "/" + name) // of a cache: no error is possible
	known, ok := found.(*record)
	return ok && known.UID == uid
}

// owningJob returns the record of the Job that owns an object of a namespace; nil if no Job does,
// or if the Job was not decided on.
func (r *Records) owningJob(namespace string, object metav1.Object) *record {
	owner := hold.OwningJob(object)
	if r == nil || owner == nil {
		return nil
	}
	return r.recordOf(namespace, owner)
}

// IsJobReleased reports whether the Job that owns a pod of a namespace is released, by what the
// cache knows.
func (r *Records) IsJobReleased(namespace string, pod metav1.Object) bool {
	job := r.owningJob(namespace, pod)
	return job != nil && job.Labels[v1alpha1.StateLabel] == v1alpha1.StateReleased
}

// IsJobHeld reports whether the Job that owns a pod of a namespace is held, by what the cache
// knows.
func (r *Records) IsJobHeld(namespace string, pod metav1.Object) bool {
	job := r.owningJob(namespace, pod)
	return job != nil && job.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld
}

// PlannedLocation returns the location to which the Job that owns a pod was released. If the cache
// does not know the release yet, it returns what the Job's template says.
func (r *Records) PlannedLocation(namespace string, pod metav1.Object) string {
	template := pod.GetAnnotations()[v1alpha1.PlannedLocationAnnotation]
	if job := r.owningJob(namespace, pod); job != nil && job.Labels[v1alpha1.StateLabel] == v1alpha1.StateReleased {
		return cmp.Or(job.Annotations[v1alpha1.PlannedLocationAnnotation], template)
	}
	return template
}
