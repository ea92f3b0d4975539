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
	// failingAfter is how long releases in a namespace must have failed, with no success, before no
	// more work is held there.
	failingAfter = time.Minute
	// failureLifetime is how long a failure is remembered after the newest one. What fails is tried
	// again much sooner, as long as it exists.
	failureLifetime = 10 * time.Minute
	// maxFailingNamespaces bounds how many namespaces are named.
	maxFailingNamespaces = 100
)

// ReleaseHealth knows in which namespaces releases fail. The zero value knows of no release.
type ReleaseHealth struct {
	mu        sync.Mutex
	failing   map[string]failure // by namespace, until a release succeeds there
	succeeded time.Time          // the newest success anywhere
}

// failure is what is known of a namespace in which no release has succeeded since the first
// failure.
type failure struct {
	since, last time.Time
	// mayBeOurs says that at least one release may have failed by no fault of its object.
	mayBeOurs bool
}

// failingNamespace is a namespace in which releases fail; without a name, it is every namespace.
type failingNamespace struct {
	name  string
	since time.Time
}

// add adds the result of a release. An object that is gone says nothing about releases.
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

// failingNamespaces returns the namespaces in which releases have failed for a minute with no
// success, the longest first. It returns every namespace only if releases fail in two namespaces or
// more by no fault of the objects, and none has succeeded anywhere for a minute. So nobody can end
// the holding for others by what can be done to the objects of one namespace.
func (o *ReleaseHealth) failingNamespaces(now time.Time) []failingNamespace {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []failingNamespace
	oursCount := 0
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
			oursCount++
		}
	}
	slices.SortFunc(all, func(a, b failingNamespace) int {
		return cmp.Or(a.since.Compare(b.since), strings.Compare(a.name, b.name))
	})
	if oursCount > 1 && (o.succeeded.IsZero() || now.Sub(o.succeeded) > failingAfter) {
		return []failingNamespace{{since: all[0].since}}
	}
	return all[:min(len(all), maxFailingNamespaces)]
}

// String says where releases fail, and since when.
func (s failingNamespace) String() string {
	if s.name == "" {
		return "since " + plan.FormatTime(s.since)
	}
	return fmt.Sprintf("in namespace %s since %s", s.name, plan.FormatTime(s.since))
}
