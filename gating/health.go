package gating

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gridlatch/gridlatch/plan"
)

const (
	// failingAfter is how long releases must have failed, and none succeeded, for
	// work not to be held on.
	failingAfter = time.Minute
	// failureKept is how long after the last of them failures are remembered: what
	// fails is tried again much sooner, as long as it is there.
	failureLifetime = 10 * time.Minute
	// mostFailing bounds how many namespaces are told of.
	maxFailingNamespaces = 100
)

// Outcomes knows in which namespaces releases fail. The zero value knows of no
// release.
type ReleaseHealth struct {
	mu        sync.Mutex
	failing   map[string]failure // by namespace, until one succeeds there
	succeeded time.Time          // the last, anywhere
}

// failure is what is known of releases of which none has succeeded.
type failure struct {
	since, last time.Time
	// ours says that at least one of them may be no fault of the object itself.
	mayBeOurs bool
}

// stuck is a namespace in which releases fail, or every if that is empty.
type failingNamespace struct {
	name  string
	since time.Time
}

// add notes what came of a release. What is gone tells nothing.
func (o *ReleaseHealth) add(namespace string, err error, now time.Time) {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil {
		o.succeeded = now
		delete(o.failing, namespace)
		return
	}
	if o.failing == nil {
		o.failing = map[string]failure{}
	}
	f, known := o.failing[namespace]
	if !known || now.Sub(f.last) > failureLifetime {
		f = failure{since: now}
	}
	f.last, f.mayBeOurs = now, f.mayBeOurs || !apierrors.IsInvalid(err)
	o.failing[namespace] = f
}

// stuck returns where releases have failed for a minute and none has succeeded,
// the longest first. That is everywhere only if it is so in two namespaces at
// least, for no fault of the objects, and none has succeeded in any other: nobody
// is to end the holding for others by what can be done to objects of one
// namespace.
func (o *ReleaseHealth) failingNamespaces(now time.Time) []failingNamespace {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []failingNamespace
	ours := 0
	for namespace, f := range o.failing {
		if now.Sub(f.last) > failureLifetime {
			delete(o.failing, namespace)
			continue
		}
		if f.last.Sub(f.since) < failingAfter {
			continue
		}
		all = append(all, failingNamespace{namespace, f.since})
		if f.mayBeOurs {
			ours++
		}
	}
	slices.SortFunc(all, func(a, b failingNamespace) int {
		return cmp.Or(a.since.Compare(b.since), strings.Compare(a.name, b.name))
	})
	if ours > 1 && (o.succeeded.IsZero() || now.Sub(o.succeeded) > failingAfter) {
		return []failingNamespace{{since: all[0].since}}
	}
	return all[:min(len(all), maxFailingNamespaces)]
}

// String says where and since when.
func (s failingNamespace) String() string {
	if s.name == "" {
		return "since " + plan.FormatTime(s.since)
	}
	return fmt.Sprintf("in namespace %s since %s", s.name, plan.FormatTime(s.since))
}
