package hold

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// printable is a text without what a terminal does not print: whoever refuses a
// request writes why.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}

const (
	// exitWorkers bounds the writes in flight of an Exit.
	maxExitWrites = 32
	// mostLeft is how many of the objects are named that an Exit has to leave.
	maxNamedUnreleased = 20
)

// Exit is the way to leave: it lets go of all that is held, known as held or not. What
// cannot be let go does not keep it from the rest. Client, Reason and Now are required.
type Exit struct {
	Client client.Client
	// Namespace is the one that is looked at; empty is the whole cluster.
	Namespace string
	Reason    string
	Now       time.Time
	// Progress is told how many pods are let go, and how many objects are left, after
	// each object. It may be nil.
	Progress func(released, left int)

	mu         sync.Mutex
	released   int
	unreleased Unreleased
}

// Left are the objects that could not be let go.
type Unreleased struct {
	Count int
	// First are the first of them, as KIND NAMESPACE/NAME: WHY.
	First []string
}

// Error lists what is left, a line each.
func (l *Unreleased) Error() string {
	text := fmt.Sprintf("%d could not be released:\n  %s", l.Count, strings.Join(l.First, "\n  "))
	if more := l.Count - len(l.First); more > 0 {
		text += fmt.Sprintf("\n  and %d more", more)
	}
	return text
}

// ReleaseAll releases, and returns how many pods that were. Held Jobs are recorded as
// released first, so that their later pods do not wait either. The error has a Left if
// something is left.
func (e *Exit) ReleaseAll(ctx context.Context) (int, error) {
	var problems []error
	jobs := e.workers()
	add := func(job *batchv1.Job) {
		jobs.Go(func() error {
			pods, err := releaseJob(ctx, e.Client, job, e.Reason, e.Now)
			e.count("Job", job, pods, err)
			return nil
		})
	}
	problems = append(problems, EachJob(ctx, e.Client, e.Namespace, v1alpha1.StateLabel, selection.Equals, add), EachUnlabelledHeldJob(ctx, e.Client, e.Namespace, add))
	_ = jobs.Wait() // they report for themselves
	pods := e.workers()
	for _, known := range []selection.Operator{selection.Equals, selection.NotEquals} {
		problems = append(problems, EachGatedPod(ctx, e.Client, e.Namespace, known, func(pod *corev1.Pod) {
			pods.Go(func() error {
				err := ungatePod(ctx, e.Client, pod, ReleaseNote{Reason: e.Reason, At: e.Now})
				e.count("pod", pod, 1, err)
				return nil
			})
		}))
	}
	_ = pods.Wait() // likewise
	if e.unreleased.Count > 0 {
		problems = append(problems, &e.unreleased)
	}
	return e.released, errors.Join(problems...)
}

func (e *Exit) workers() *errgroup.Group {
	group := &errgroup.Group{}
	group.SetLimit(maxExitWrites)
	return group
}

// note counts what became of an object.
func (e *Exit) count(kind string, o client.Object, pods int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case err == nil:
		e.released += pods
	case client.IgnoreNotFound(err) != nil:
		if e.unreleased.Count++; len(e.unreleased.First) < maxNamedUnreleased {
			why := plan.Truncate(Printable(err.Error()))
			e.unreleased.First = append(e.unreleased.First, fmt.Sprintf("%s %s/%s: %s", kind, o.GetNamespace(), o.GetName(), why))
		}
	}
	if e.Progress != nil {
		e.Progress(e.released, e.unreleased.Count)
	}
}
