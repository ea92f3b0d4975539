package leaving

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	clientgofake "k8s.io/client-go/kubernetes/fake"
	clientgotesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/log"

	testingclock "k8s.io/utils/clock/testing"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

var t0 = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const ns = "carbon"

// installed returns all objects of an installation with the component keda, by kind and name.
func installed() map[string]client.Object {
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: ns, Name: name, Finalizers: []string{"example.com/other", v1alpha1.ReleaseFinalizer}}
	}
	clusterMeta := func(name string) metav1.ObjectMeta { m := meta(name); m.Namespace = ""; return m }
	return map[string]client.Object{
		"Namespace":                         &corev1.Namespace{ObjectMeta: clusterMeta(ns)},
		"Deployment":                        &appsv1.Deployment{ObjectMeta: meta("gridlatch"), Spec: appsv1.DeploymentSpec{Replicas: ptr.To(int32(2))}},
		"ServiceAccount":                    &corev1.ServiceAccount{ObjectMeta: meta("gridlatch")},
		"Role":                              &rbacv1.Role{ObjectMeta: meta("gridlatch")},
		"RoleBinding":                       &rbacv1.RoleBinding{ObjectMeta: meta("gridlatch")},
		"ClusterRole":                       &rbacv1.ClusterRole{ObjectMeta: clusterMeta("gridlatch")},
		"ClusterRoleBinding":                &rbacv1.ClusterRoleBinding{ObjectMeta: clusterMeta("gridlatch")},
		"ClusterRole gridlatch-keda":        &rbacv1.ClusterRole{ObjectMeta: clusterMeta("gridlatch-keda")},
		"ClusterRoleBinding gridlatch-keda": &rbacv1.ClusterRoleBinding{ObjectMeta: clusterMeta("gridlatch-keda")},
	}
}

// site returns an installation with these objects. It refuses to show the kinds in forbidden.
func site(objects map[string]client.Object, forbidden ...string) *Installation {
	b := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			for _, kind := range forbidden {
				if o.GetObjectKind().GroupVersionKind().Kind == kind {
					return apierrors.NewForbidden(schema.GroupResource{Resource: kind}, key.Name, errors.New("no right"))
				}
			}
			return c.Get(ctx, key, o, options...)
		},
	})
	for _, o := range objects {
		b = b.WithObjects(o)
	}
	return &Installation{Client: b.Build(), Namespace: ns, Deployment: "gridlatch", Components: []string{"keda", "ray"}, Clock: testingclock.NewFakeClock(t0)}
}

func readAll(t *testing.T, i *Installation) (status, error) {
	t.Helper()
	s, err := i.read(t.Context())
	return s, errors.Join(err, i.readComponents(t.Context(), &s))
}

func newKeeper(i *Installation, clientset kubernetes.Interface) *Keeper {
	return NewKeeper(*i, clientset, "replica", make(chan struct{}), prometheus.NewRegistry())
}

func deleted(o client.Object) { o.SetDeletionTimestamp(&metav1.Time{Time: t0}) }

func TestAnInstallationIsLeftWhenAPartOfItIsDeleted(t *testing.T) {
	for _, tt := range []struct {
		name       string
		change     func(map[string]client.Object)
		why        string
		components []string
	}{
		{name: "nothing is deleted", change: func(map[string]client.Object) {}},
		{name: "the Deployment is gone", change: func(all map[string]client.Object) { delete(all, "Deployment") }, why: "the Deployment gridlatch is gone"},
		{name: "the Deployment is being deleted", change: func(all map[string]client.Object) { deleted(all["Deployment"]) }, why: "the Deployment gridlatch is being deleted"},
		{name: "the Deployment has no replicas", change: func(all map[string]client.Object) {
			all["Deployment"].(*appsv1.Deployment).Spec.Replicas = ptr.To(int32(0))
		}, why: "the Deployment gridlatch has no replicas"},
		{name: "the namespace is being deleted", change: func(all map[string]client.Object) { deleted(all["Namespace"]) }, why: "the namespace carbon is being deleted"},
		{name: "the ServiceAccount is being deleted", change: func(all map[string]client.Object) { deleted(all["ServiceAccount"]) }, why: "the ServiceAccount gridlatch is being deleted"},
		{name: "the Role is being deleted", change: func(all map[string]client.Object) { deleted(all["Role"]) }, why: "the Role gridlatch is being deleted"},
		{name: "the RoleBinding is being deleted", change: func(all map[string]client.Object) { deleted(all["RoleBinding"]) }, why: "the RoleBinding gridlatch is being deleted"},
		{name: "the ClusterRole is being deleted", change: func(all map[string]client.Object) { deleted(all["ClusterRole"]) }, why: "the ClusterRole gridlatch is being deleted"},
		{name: "the ClusterRoleBinding is gone", change: func(all map[string]client.Object) { delete(all, "ClusterRoleBinding") }, why: "the ClusterRoleBinding gridlatch is gone"},
		{name: "a component is being deleted", change: func(all map[string]client.Object) {
			deleted(all["ClusterRole gridlatch-keda"])
			deleted(all["ClusterRoleBinding gridlatch-keda"])
		}, components: []string{"keda"}},
		{name: "a component waits for somebody else only", change: func(all map[string]client.Object) {
			o := all["ClusterRole gridlatch-keda"]
			deleted(o)
			o.SetFinalizers([]string{"example.com/other"})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := installed()
			tt.change(all)
			s, err := readAll(t, site(all))
			if err != nil {
				t.Fatal(err)
			}
			if s.why != tt.why || !cmp.Equal(s.removedComponents, tt.components) || len(s.unprotected) > 0 {
				t.Errorf("leaves because %q, components %v, unprotected %v", s.why, s.removedComponents, s.unprotected)
			}
		})
	}
}

func TestTheFinalizerIsAddedBesideThoseOfOthers(t *testing.T) {
	all := installed()
	all["ClusterRole"].SetFinalizers([]string{"example.com/other"})
	all["ServiceAccount"].SetFinalizers(nil)
	i := site(all)
	s, err := readAll(t, i)
	if err != nil || len(s.unprotected) != 2 {
		t.Fatalf("%v, %v", s, err)
	}
	if err := i.protect(t.Context(), s.unprotected); err != nil {
		t.Fatal(err)
	}
	role := &rbacv1.ClusterRole{}
	if err := i.Client.Get(t.Context(), client.ObjectKey{Name: "gridlatch"}, role); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{v1alpha1.ReleaseFinalizer, "example.com/other"}, role.Finalizers); diff != "" {
		t.Errorf("finalizers (-want +got):\n%s", diff)
	}
	if s, err := readAll(t, i); err != nil || len(s.unprotected) > 0 {
		t.Errorf("unprotected: %v, %v", s.unprotected, err)
	}
}

func TestTheFinalizerIsRemovedWhereItIsAndThoseOfOthersStay(t *testing.T) {
	all := installed()
	all["Role"].SetFinalizers([]string{"example.com/other"})
	all["another"] = &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "another", Name: "gridlatch", Finalizers: []string{v1alpha1.ReleaseFinalizer}}}
	c := site(all).Client
	if removed, err := RemoveFinalizers(t.Context(), c, ns); err != nil || removed != 6 {
		t.Errorf("removed from %d, %v, want 6", removed, err)
	}
	for name, o := range all {
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatal(err)
		}
		want := []string{"example.com/other"}
		switch name {
		case "another":
			want = []string{v1alpha1.ReleaseFinalizer}
		case "Namespace", "Deployment": // no anchors
			want = append(want, v1alpha1.ReleaseFinalizer)
		}
		if diff := cmp.Diff(want, o.GetFinalizers()); diff != "" {
			t.Errorf("finalizers of %s (-want +got):\n%s", name, diff)
		}
	}
}

func TestNothingIsHeldUnlessTheInstallationIsKnownToStay(t *testing.T) {
	all := installed()
	clock := testingclock.NewFakeClock(t0)
	i := site(all)
	i.Clock = clock
	k := newKeeper(i, nil)
	expect := func(when, part string) {
		t.Helper()
		if why := k.WhyNotHeld(""); (why == "") != (part == "") || !strings.Contains(why, part) {
			t.Errorf("%s: not held because %q, want %q", when, why, part)
		}
	}
	expect("before the first look", "not known yet")
	k.look(t.Context())
	expect("after the first look", "")

	k.installation.Client = site(all, "ClusterRole").Client
	k.look(t.Context())
	expect("when a role cannot be read", "")

	gone := installed()
	deleted(gone["ServiceAccount"])
	k.installation.Client = site(gone).Client
	k.look(t.Context())
	expect("when an anchor is being deleted", "ServiceAccount gridlatch is being deleted")
	k.installation.Client = site(gone, "ServiceAccount").Client
	k.look(t.Context())
	expect("when the anchor cannot be read any more", "ServiceAccount gridlatch is being deleted")

	k.installation.Client = i.Client
	k.look(t.Context())
	expect("when all is there again", "was just removed")
	clock.Step(holdAgainAfter)
	expect("a minute later", "")
}

func TestAReplicaEndsWithoutALeaveWhereNothingIsLeftToDo(t *testing.T) {
	unauthorized, away := apierrors.NewUnauthorized("no account"), errors.New("the API server is away")
	another := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: ptr.To("another"), LeaseDurationSeconds: ptr.To(int32(3600)), RenewTime: &metav1.MicroTime{Time: time.Now()}, AcquireTime: &metav1.MicroTime{Time: time.Now()},
		},
	}
	for _, tt := range []struct {
		name         string
		hasLeft      bool
		err          error // of the API server
		errOfTheTurn error
	}{
		{name: "it has left itself", hasLeft: true, err: away},
		{name: "the API server knows its account no more", err: unauthorized, errOfTheTurn: unauthorized},
		{name: "another replica has the turn, and takes the rights away", err: apierrors.NewForbidden(schema.GroupResource{}, "gridlatch", errors.New("no right"))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clock := testingclock.NewFakeClock(t0)
			atHighSpeed(t, clock)
			clientset := clientgofake.NewClientset(another)
			if tt.errOfTheTurn != nil {
				clientset.PrependReactor("*", "*", func(clientgotesting.Action) (bool, runtime.Object, error) { return true, nil, tt.errOfTheTurn })
			}
			refused := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
				Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
					return tt.err
				},
				List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
					t.Error("work is looked for")
					return tt.err
				},
			}).Build()
			k := newKeeper(&Installation{Client: refused, Namespace: ns, Deployment: "gridlatch", Clock: clock}, clientset)
			k.note(t.Context(), status{why: "the ServiceAccount gridlatch is being deleted"}, nil)
			k.hasLeft = tt.hasLeft
			if err := k.LeaveAtEnd(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAReplicaGoesOnWhenTheLeaseOfAKilledReplicaIsDeleted has a lease that is deleted with its namespace
// while another replica has it.
func TestAReplicaGoesOnWhenTheLeaseOfAKilledReplicaIsDeleted(t *testing.T) {
	now, leases := metav1.NowMicro(), schema.GroupResource{Resource: "leases"}
	clientset := clientgofake.NewClientset(&coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "gridlatch"},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: ptr.To("killed"), LeaseDurationSeconds: ptr.To(int32(600)), RenewTime: &now, AcquireTime: &now},
	})
	var reads atomic.Int32
	clientset.PrependReactor("*", "leases", func(action clientgotesting.Action) (bool, runtime.Object, error) {
		switch {
		case action.GetVerb() == "create":
			return true, nil, apierrors.NewForbidden(leases, "gridlatch", errors.New("the namespace is being deleted"))
		case reads.Add(1) == 1:
			return false, nil, nil
		default:
			return true, nil, apierrors.NewNotFound(leases, "gridlatch")
		}
	})
	i, clock := site(installed()), testingclock.NewFakeClock(t0)
	i.Clock = clock
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			time.Sleep(time.Millisecond)
			if reads.Load() > 1 { // the replica has seen who has the lease
				clock.Step(time.Second)
			}
		}
	}()
	done, isTurn := newKeeper(i, clientset).awaitTurn(ctx)
	hasWaited := ctx.Err() != nil
	done()
	if !isTurn || hasWaited {
		t.Errorf("it is the turn of the replica: %t; the replica has waited to its end: %t", isTurn, hasWaited)
	}
}

func TestOnlyWorkOfAComponentIsNotHeldWhileThatIsRemoved(t *testing.T) {
	all := installed()
	k := newKeeper(site(all), nil)
	k.look(t.Context())
	deleted(all["ClusterRole gridlatch-keda"])
	k.installation.Client, k.looks = site(all).Client, 0
	k.look(t.Context())
	if why := k.WhyNotHeld("keda"); !strings.Contains(why, "the component keda of Gridlatch is being removed") {
		t.Errorf("not held because %q", why)
	}
	for _, component := range []string{"", "ray"} {
		if why := k.WhyNotHeld(component); why != "" {
			t.Errorf("%q: not held because %q", component, why)
		}
	}
	delete(all, "ClusterRole gridlatch-keda")
	k.installation.Client, k.looks = site(all).Client, 0
	k.look(t.Context())
	if why := k.WhyNotHeld("keda"); !strings.Contains(why, "just removed") {
		t.Errorf("not held because %q", why)
	}
}

func TestAComponentThatCannotBeReadHindersNothing(t *testing.T) {
	i := site(installed())
	inner := i.Client
	i.Client = interceptor.NewClient(inner.(client.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if key.Name == "gridlatch-ray" {
				return errors.New("too slow")
			}
			return c.Get(ctx, key, o, options...)
		},
	})
	k := newKeeper(i, nil)
	k.look(t.Context())
	if why := k.WhyNotHeld(""); why != "" {
		t.Errorf("not held because %q", why)
	}
}

func TestWhatCannotBeReadIsLoggedOnce(t *testing.T) {
	var logged []string
	ctx := log.IntoContext(t.Context(), funcr.New(func(_, line string) { logged = append(logged, line) }, funcr.Options{}))
	k := newKeeper(site(installed(), "ClusterRole"), nil)
	k.look(ctx)
	k.look(ctx)
	if len(logged) != 1 || !strings.Contains(logged[0], "read ClusterRole gridlatch") {
		t.Errorf("logged %q, want one line about the ClusterRole", logged)
	}
}
