package gating

import (
	"context"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
)

// eventually waits until something is so.
func eventually(t *testing.T, what string, isSo func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !isSo(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after half a minute", what)
		}
	}
}

func TestRecordsFollowWhatWasDecidedOn(t *testing.T) {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Namespace: "n", Name: "j", UID: "uid-j", Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld}, Annotations: map[string]string{},
	}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "n", Name: "p", UID: "uid-p", Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld},
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(job, hold.JobKind())},
		Annotations:     map[string]string{v1alpha1.PlannedLocationAnnotation: "of the template"},
	}, Spec: corev1.PodSpec{SchedulingGates: []corev1.PodSchedulingGate{{Name: v1alpha1.Gate}}}}
	ordinary := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "ordinary"}}
	clientset := fake.NewClientset(job, pod, ordinary)
	records, err := newRecords(clientset, clocktesting.NewFakePassiveClock(t0))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- records.Start(ctx) }()

	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer queue.ShutDown()
	changes := make(chan string, 100)
	handle := handler.TypedFuncs[*record, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*record], _ workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			changes <- "created " + e.Object.Name
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[*record], _ workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			changes <- "updated " + e.ObjectNew.Name
		},
	}
	for _, s := range records.sources(handle) {
		if err := s.Start(ctx, queue); err != nil {
			t.Fatal(err)
		}
		waiting, ok := s.(recordSource)
		if !ok {
			t.Fatalf("%T: a controller cannot wait for it", s)
		}
		if err := waiting.WaitForSync(ctx); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the cache is filled", records.Synced)
	if n := len(records.pods.ListKeys()) + len(records.jobs.ListKeys()); n != 2 {
		t.Errorf("%d records, want none of a pod that nobody decided on", n)
	}
	if !records.IsJobHeld("n", pod) || records.IsJobReleased("n", pod) || records.PlannedLocation("n", pod) != "of the template" {
		t.Error("the Job is held")
	}
	if records.IsJobHeld("another", pod) {
		t.Error("a Job of another namespace counts")
	}

	job.Labels[v1alpha1.StateLabel], job.Annotations[v1alpha1.PlannedLocationAnnotation] = v1alpha1.StateReleased, "north"
	if _, err := clientset.BatchV1().Jobs("n").Update(ctx, job, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Job is released", func() bool { return records.IsJobReleased("n", pod) })
	if records.IsJobHeld("n", pod) || records.PlannedLocation("n", pod) != "north" {
		t.Errorf("its pods go to %q", records.PlannedLocation("n", pod))
	}
	seen := map[string]bool{}
	eventually(t, "a controller is told", func() bool {
		select {
		case change := <-changes:
			seen[change] = true
		default:
		}
		return seen["created j"] && seen["created p"] && seen["updated j"]
	})
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAControllerDoesNotStartBeforeTheRecordsAreThere(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := (recordSource{synced: func() bool { return false }}).WaitForSync(ctx); err == nil {
		t.Error("it starts with an empty cache")
	}
}

func TestNobodyKnowsAnythingWithoutRecords(t *testing.T) {
	var none *Records
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(&metav1.ObjectMeta{Name: "j"}, hold.JobKind())}}}
	if none.IsJobHeld("n", pod) || none.IsJobReleased("n", pod) || none.PlannedLocation("n", pod) != "" {
		t.Error("it knows something")
	}
	if _, err := StaticRecords(&corev1.Node{}); err == nil {
		t.Error("a node becomes a record")
	}
	if _, err := NewRecords(&rest.Config{Host: "://"}, clocktesting.NewFakePassiveClock(t0)); err == nil {
		t.Error("it connects to nowhere")
	}
}

func TestACopyOfARecordHasItsFacts(t *testing.T) {
	r := released("Job", "j", 0, nil)
	r.isSuspended = true
	copied, ok := r.DeepCopyObject().(*record)
	if !ok || copied == r || !copied.isSuspended || copied.Name != "j" {
		t.Errorf("%+v", copied)
	}
	copied.Labels["a"] = "b"
	if r.Labels["a"] != "" {
		t.Error("it shares its labels")
	}
}

func TestWhatTheWebhookReadsIsInEveryReplicaAndTheRestOnTheLeader(t *testing.T) {
	for name, tt := range map[string]struct {
		runnable interface{ NeedLeaderElection() bool }
		leader   bool
	}{
		"the records": {&Records{}, false}, "the runs": {&Runs{}, false}, "the switch": {&Switch{}, false},
		"the Events": {&Announcer{}, true}, "the sweeper": {&Sweeper{}, true}, "the pulse": {&Pulse{}, true},
	} {
		if got := tt.runnable.NeedLeaderElection(); got != tt.leader {
			t.Errorf("%s: on the leader only: %t, want %t", name, got, tt.leader)
		}
	}
}

func TestWhatIsPausedExists(t *testing.T) {
	job := released("Job", "j", 0, nil)
	job.Labels[v1alpha1.StateLabel] = v1alpha1.StateHeld
	r := recordsOf(t, job, releasedWhole("w", 0, false))
	r.pods.synced, r.jobs.synced = func() bool { return true }, func() bool { return true }
	for name, tt := range map[string]struct {
		kind, name string
		uid        types.UID
		want       bool
	}{
		"a Job": {"Job", "j", "uid-j", true}, "another one of its name": {"Job", "j", "other", false}, "one that is gone": {"Job", "k", "uid-k", false},
		"a JobSet": {"JobSet", "w", "uid-w", true}, "a JobSet that is gone": {"JobSet", "j", "uid-j", false}, "a kind that nobody holds": {"Deployment", "j", "uid-j", false},
	} {
		if got := r.Exists(tt.kind, "default", tt.name, tt.uid); got != tt.want {
			t.Errorf("%s exists: %v", name, got)
		}
	}
	r.jobs.synced = func() bool { return false }
	if !r.Exists("Job", "default", "k", "uid-k") {
		t.Error("nobody knows yet, and it is said to be gone")
	}
}
