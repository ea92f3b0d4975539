package gating

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
)

func TestReleasesFailWhereNoneHasSucceededForAMinute(t *testing.T) {
	refused := errors.New("forbidden")
	invalid := apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "p", nil)
	gone := apierrors.NewNotFound(corev1.Resource("pods"), "p")
	type outcome struct {
		after     time.Duration // t0
		namespace string
		err       error
	}
	for name, tt := range map[string]struct {
		outcomes []outcome
		now      time.Duration
		want     string
	}{
		"nothing was due":                  {nil, 0, ""},
		"failures of a moment":             {[]outcome{{0, "a", refused}, {50 * time.Second, "a", refused}}, time.Minute, ""},
		"failures of a minute":             {[]outcome{{0, "a", refused}, {time.Minute, "a", refused}}, time.Minute, "a=2026-11-21T12:00:00Z"},
		"one that failed, long ago":        {[]outcome{{0, "a", refused}}, 5 * time.Minute, ""},
		"what succeeds ends it":            {[]outcome{{0, "a", refused}, {59 * time.Second, "a", nil}, {time.Minute, "a", refused}}, time.Minute, ""},
		"what is gone tells nothing":       {[]outcome{{0, "a", gone}, {time.Minute, "a", gone}}, time.Minute, ""},
		"nor does it end it":               {[]outcome{{0, "a", refused}, {time.Minute, "a", refused}, {time.Minute, "a", gone}}, time.Minute, "a=2026-11-21T12:00:00Z"},
		"nothing is due any more":          {[]outcome{{0, "a", refused}, {time.Minute, "a", refused}}, 12 * time.Minute, ""},
		"a failure much later begins anew": {[]outcome{{0, "a", refused}, {20 * time.Minute, "a", refused}}, 20 * time.Minute, ""},
		"one of two namespaces":            {[]outcome{{0, "a", refused}, {time.Minute, "b", nil}, {time.Minute, "a", refused}}, time.Minute, "a=2026-11-21T12:00:00Z"},
		"two of three, of which one is ours": {
			[]outcome{{0, "a", refused}, {time.Second, "b", refused}, {time.Minute, "c", nil}, {time.Minute, "a", refused}, {2 * time.Minute, "b", refused}},
			2 * time.Minute, "a=2026-11-21T12:00:00Z,b=2026-11-21T12:00:01Z",
		},
		"all of two": {
			[]outcome{{-2 * time.Minute, "c", nil}, {0, "a", refused}, {time.Second, "b", refused}, {time.Minute, "a", refused}, {2 * time.Minute, "b", refused}},
			2 * time.Minute, "*=2026-11-21T12:00:00Z",
		},
		"all of two, by faults of the objects": {
			[]outcome{{0, "a", invalid}, {0, "b", invalid}, {time.Minute, "a", invalid}, {time.Minute, "b", invalid}},
			time.Minute, "a=2026-11-21T12:00:00Z,b=2026-11-21T12:00:00Z",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var o ReleaseHealth
			for _, outcome := range tt.outcomes {
				o.add(outcome.namespace, outcome.err, t0.Add(outcome.after))
			}
			if diff := cmp.Diff(tt.want, formatFailing(o.failingNamespaces(t0.Add(tt.now)))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatIsToldOfFailuresIsBounded(t *testing.T) {
	var o ReleaseHealth
	for i := range 5000 {
		namespace := fmt.Sprintf("%s-%04d", strings.Repeat("x", 58), i)
		o.add(namespace, apierrors.NewInvalid(schema.GroupKind{}, "p", nil), t0.Add(time.Duration(i)*time.Millisecond))
		o.add(namespace, apierrors.NewInvalid(schema.GroupKind{}, "p", nil), t0.Add(2*time.Minute))
	}
	if told := formatFailing(o.failingNamespaces(t0.Add(2 * time.Minute))); len(told) > 10<<10 || len(parseFailing(told)) != maxFailingNamespaces {
		t.Errorf("%d bytes are told, of %d namespaces", len(told), len(parseFailing(told)))
	}
	pod := recordOf(hold.PodKind())
	pod.Namespace = strings.Repeat("x", 58) + "-0003"
	groups := []*group{{pods: []*record{pod}}}
	l := &Loop{}
	l.health.failing = o.failing
	c := l.releasesFailingCondition(&pass{groups: groups, now: t0.Add(2 * time.Minute)}, overdue{})
	if c.Status != metav1.ConditionTrue || c.Reason != v1alpha1.ReasonNoneReleased || strings.Count(c.Message, "xxx-") != 1 {
		t.Errorf("want the one namespace in which the policy holds something: %+v", c)
	}
	o.failingNamespaces(t0.Add(time.Hour))
	if len(o.failing) > 0 {
		t.Errorf("%d namespaces are remembered", len(o.failing))
	}
}
