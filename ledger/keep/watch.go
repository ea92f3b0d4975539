package keep

import (
	"context"
	"fmt"
	"sync/atomic"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/watching"
)

// The names of the watches.
const (
	watchJobs = "jobs"
	// watchPods brings the pods that were decided on themselves.
	watchPods = "pods"
	// watchJobPods is the label by which pods of Jobs are watched that say nothing of a decision:
	// those of audited Jobs are among them. Each further watch of pods has the name of its label.
	watchJobPods = batchv1.JobNameLabel
)

// The selectors of the watches. What is held has not started or is paused, and so takes no energy: a hundred
// thousand held pods cost the keeper nothing.
const (
	startedWork  = v1alpha1.StateLabel + " in (" + v1alpha1.StateReleased + "," + v1alpha1.StateAudited + ")"
	listPageSize = 500
)

// sink takes what a watch brings. It is the store of a reflector, which keeps nothing itself: an
// informer would keep every object a second time.
type sink struct {
	name    string
	convert toolscache.TransformFunc
	put     func(converted any)
	drop    func(converted any)
	replace func(converted []any)

	synced atomic.Bool // the first list has come
}

// Transformer implements toolscache.TransformingStore: a list is kept in short.
func (s *sink) Transformer() toolscache.TransformFunc { return s.convert }

// Add takes an object that is new.
func (s *sink) Add(object any) error { return s.each(object, s.put) }

// Update takes an object that has changed.
func (s *sink) Update(object any) error { return s.each(object, s.put) }

// Delete takes an object that has gone, as it was last.
func (s *sink) Delete(object any) error { return s.each(object, s.drop) }

func (s *sink) each(object any, take func(any)) error {
	converted, err := s.convert(object)
	if err == nil {
		take(converted)
	}
	return err
}

// Replace takes all objects there are.
func (s *sink) Replace(objects []any, _ string) error {
	converted := make([]any, len(objects))
	for i, object := range objects {
		short, err := s.convert(object)
		if err != nil {
			return err
		}
		converted[i] = short
	}
	s.replace(converted)
	s.synced.Store(true)
	return nil
}

// Resync does nothing.
func (*sink) Resync() error { return nil }

// podSink returns the sink of a watch of pods.
func (k *Keeper) podSink(name string) *sink {
	engines := podLabels()
	convert := func(o any) (any, error) {
		switch o := o.(type) {
		case *corev1.Pod:
			p := podOf(o, name, k.Clock.Now())
			if p != nil {
				p.nodeLabels, p.Pieces = k.nodeLabels(p.Node), piecesOf(o.Labels, engines)
			}
			return newObject(o, p), nil
		case *object[pod]:
			return o, nil
		}
		return nil, fmt.Errorf("want a pod, not %T", o)
	}
	return &sink{
		name: name, convert: convert,
		put: func(o any) {
			if p := o.(*object[pod]).record; p != nil {
				k.known.setPod(p)
			}
		},
		drop: func(o any) {
			k.known.dropPod(o.(*object[pod]).UID, name, o.(*object[pod]).record, k.Clock.Now())
		},
		replace: func(all []any) {
			var pods []*pod
			uids := make(map[types.UID]bool, len(all))
			for _, o := range all {
				uids[o.(*object[pod]).UID] = true
				if p := o.(*object[pod]).record; p != nil {
					pods = append(pods, p)
				}
			}
			k.known.replacePods(name, pods, uids, k.Clock.Now())
		},
	}
}

// jobSink returns the sink of the watch of Jobs.
func (k *Keeper) jobSink() *sink {
	convert := func(o any) (any, error) {
		switch o := o.(type) {
		case *batchv1.Job:
			return newObject(o, ownerOfJob(o, watchJobs, k.Clock.Now())), nil
		case *object[owner]:
			return o, nil
		}
		return nil, fmt.Errorf("want a Job, not %T", o)
	}
	return &sink{
		name: watchJobs, convert: convert,
		put: func(o any) { k.putOwner(o.(*object[owner]).record) },
		drop: func(o any) {
			k.known.dropOwner(o.(*object[owner]).UID, o.(*object[owner]).record, k.Clock.Now())
		},
		replace: func(all []any) {
			owners := make([]*owner, len(all))
			for i, o := range all {
				owners[i] = o.(*object[owner]).record
				k.noteAudit(owners[i])
			}
			k.known.replaceOwners(watchJobs, owners, k.Clock.Now())
		},
	}
}

func (k *Keeper) putOwner(o *owner) {
	k.noteAudit(o)
	k.known.setOwner(o)
}

// noteAudit begins to watch the pods that say nothing of a decision once a Job is audited.
func (k *Keeper) noteAudit(o *owner) {
	if o.Notes.State == v1alpha1.StateAudited {
		k.further.begin(watchJobPods)
	}
}

// watch watches until the context ends.
func (k *Keeper) watch(ctx context.Context, s *sink, of runtime.Object, selector string, clientset kubernetes.Interface) {
	pods, jobs := clientset.CoreV1().Pods(metav1.NamespaceAll), clientset.BatchV1().Jobs(metav1.NamespaceAll)
	list := func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		o.LabelSelector = selector
		if _, isJob := of.(*batchv1.Job); isJob {
			return jobs.List(ctx, o)
		}
		return pods.List(ctx, o)
	}
	begin := func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		o.LabelSelector = selector
		if _, isJob := of.(*batchv1.Job); isJob {
			return jobs.Watch(ctx, o)
		}
		return pods.Watch(ctx, o)
	}
	lists := &toolscache.ListWatch{ListWithContextFunc: watching.InPages(listPageSize, list, s.convert), WatchFuncWithContext: begin}
	source := toolscache.ToListWatcherWithWatchListSemantics(lists, clientset)
	toolscache.NewReflectorWithOptions(source, of, s, toolscache.ReflectorOptions{Name: "ledger-" + s.name}).RunWithContext(ctx)
}
