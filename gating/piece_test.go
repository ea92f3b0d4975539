package gating

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/policy"
)

// controlledBy is a reference to a controller, whose UID is made of its name.
func controlledBy(apiVersion, kind, name string) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: name, UID: types.UID("uid-" + name), Controller: ptr.To(true)}
}

func pyTorchJob(name string) metav1.OwnerReference {
	return controlledBy("kubeflow.org/v1", "PyTorchJob", name)
}

func jobSet(name string) metav1.OwnerReference {
	return controlledBy("jobset.x-k8s.io/v1alpha2", "JobSet", name)
}

// of gives a record an owner.
func of(owner metav1.OwnerReference, o *record) *record {
	o.OwnerReferences = append(o.OwnerReferences, owner)
	return o
}

// runningMember is a pod or Job that was released, with the annotations of a wish.
func runningMember(kind, name string) *record {
	return released(kind, name, time.Hour, map[string]string{v1alpha1.DelayTolerantAnnotation: "true"})
}

// waitingMember is a pod or Job that waits until a while after t0.
func waitingMember(kind, name string, until time.Duration) *record {
	return waitingRecord(kind, name, map[string]string{v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.LatestStartAnnotation: policy.FormatTime(t0.Add(until))})
}

// newPod is a pod that is being created.
func newPod(labels map[string]string, owners ...metav1.OwnerReference) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: labels, OwnerReferences: owners, CreationTimestamp: metav1.NewTime(t0)}}
}

func newJob(labels map[string]string, owners ...metav1.OwnerReference) *batchv1.Job {
	return &batchv1.Job{ObjectMeta: newPod(labels, owners...).ObjectMeta}
}

func TestWhatIsKnownOfThePieceOfWorkOfANewObject(t *testing.T) {
	driver := controlledBy("v1", "Pod", "driver")
	podGroup := map[string]string{door.PodGroupLabel: "g"}
	ofGroup := func(o *record) *record { return of(*door.LabelledOwner(podGroup), o) }
	task := controlledBy("tekton.dev/v1", "TaskRun", "build")
	ofRun := map[string]string{door.PipelineRunLabel: "ci", door.PipelineRunUIDLabel: "uid-ci"}
	withdrawn := runningMember("Pod", "w0")
	withdrawn.Annotations[v1alpha1.DelayTolerantAnnotation] = "false"
	unannotated := runningMember("Job", "a")
	delete(unannotated.Annotations, v1alpha1.DelayTolerantAnnotation)
	over := runningMember("Job", "a")
	over.podsToRun = 0
	gone := waitingMember("Pod", "w0", time.Hour)
	gone.DeletionTimestamp = ptr.To(metav1.NewTime(t0))
	elsewhere := runningMember("Pod", "w0")
	elsewhere.Namespace = "another"
	runs := func(kind, name string) Piece {
		return Piece{Kind: kind, Name: name, UID: types.UID("uid-" + name), Runs: true, StartReason: "its " + kind + " " + name + " runs already"}
	}
	waits := func(kind, name string, until time.Duration) Piece {
		return Piece{Kind: kind, Name: name, UID: types.UID("uid-" + name), LatestStart: t0.Add(until)}
	}
	known := func(kind, name string) Piece { return Piece{Kind: kind, Name: name, UID: types.UID("uid-" + name)} }
	for name, tt := range map[string]struct {
		records []*record
		of      metav1.Object
		want    Piece
	}{
		"a bare pod stands for itself":                     {nil, newPod(nil), Piece{}},
		"the first pod of a PyTorchJob":                    {nil, newPod(nil, pyTorchJob("bert")), known("PyTorchJob", "bert")},
		"a sibling was released":                           {[]*record{of(pyTorchJob("bert"), runningMember("Pod", "w0"))}, newPod(nil, pyTorchJob("bert")), runs("PyTorchJob", "bert")},
		"a sibling was released in another namespace":      {[]*record{of(pyTorchJob("bert"), elsewhere)}, newPod(nil, pyTorchJob("bert")), known("PyTorchJob", "bert")},
		"a pod of another was released":                    {[]*record{of(pyTorchJob("gpt"), runningMember("Pod", "w0"))}, newPod(nil, pyTorchJob("bert")), known("PyTorchJob", "bert")},
		"a sibling does not ask to wait any more":          {[]*record{of(pyTorchJob("bert"), withdrawn)}, newPod(nil, pyTorchJob("bert")), known("PyTorchJob", "bert")},
		"siblings wait, the earliest counts":               {[]*record{of(pyTorchJob("bert"), waitingMember("Pod", "w0", 3*time.Hour)), of(pyTorchJob("bert"), waitingMember("Pod", "w1", 2*time.Hour))}, newPod(nil, pyTorchJob("bert")), waits("PyTorchJob", "bert", 2*time.Hour)},
		"a sibling that waits is being deleted":            {[]*record{of(pyTorchJob("bert"), gone)}, newPod(nil, pyTorchJob("bert")), known("PyTorchJob", "bert")},
		"a ReplicaSet makes no piece":                      {[]*record{of(controlledBy("apps/v1", "ReplicaSet", "web"), runningMember("Pod", "w0"))}, newPod(nil, controlledBy("apps/v1", "ReplicaSet", "web")), Piece{}},
		"nor does a StatefulSet":                           {[]*record{of(controlledBy("apps/v1", "StatefulSet", "web"), runningMember("Pod", "w0"))}, newPod(podGroup, controlledBy("apps/v1", "StatefulSet", "web")), Piece{}},
		"nor does a DaemonSet":                             {[]*record{of(controlledBy("apps/v1", "DaemonSet", "web"), runningMember("Pod", "w0"))}, newPod(nil, controlledBy("apps/v1", "DaemonSet", "web")), Piece{}},
		"nor does a ReplicationController":                 {[]*record{of(controlledBy("v1", "ReplicationController", "web"), runningMember("Pod", "w0"))}, newPod(nil, controlledBy("v1", "ReplicationController", "web")), Piece{}},
		"a Job has a rule of its own":                      {[]*record{runningMember("Job", "a")}, newPod(nil, controlledBy("batch/v1", "Job", "a")), Piece{}},
		"a Job of Volcano has not":                         {[]*record{of(controlledBy("batch.volcano.sh/v1alpha1", "Job", "a"), runningMember("Pod", "w0"))}, newPod(nil, controlledBy("batch.volcano.sh/v1alpha1", "Job", "a")), runs("Job", "a")},
		"a driver that was not decided on runs":            {nil, newPod(nil, driver), runs("Pod", "driver")},
		"a driver that was released":                       {[]*record{runningMember("Pod", "driver")}, newPod(nil, driver), runs("Pod", "driver")},
		"a driver that waits":                              {[]*record{waitingMember("Pod", "driver", time.Hour)}, newPod(nil, driver), waits("Pod", "driver", time.Hour)},
		"the owner of the driver":                          {[]*record{of(controlledBy("sparkoperator.k8s.io/v1beta2", "SparkApplication", "pi"), runningMember("Pod", "driver"))}, newPod(nil, driver), runs("SparkApplication", "pi")},
		"an executor whose driver is elsewhere":            {nil, newPod(map[string]string{door.SparkRoleLabel: door.SparkExecutor}), Piece{Runs: true, StartReason: "it is an executor of Spark, whose driver runs already"}},
		"a driver is no executor":                          {nil, newPod(map[string]string{door.SparkRoleLabel: "driver"}), Piece{}},
		"a pod group of Kueue waits":                       {[]*record{ofGroup(waitingMember("Pod", "w0", time.Hour))}, newPod(podGroup), Piece{Kind: "pod group", Name: "g", UID: door.LabelledOwner(podGroup).UID, LatestStart: t0.Add(time.Hour)}},
		"a pod group of Kueue runs":                        {[]*record{ofGroup(runningMember("Pod", "w0"))}, newPod(podGroup), Piece{Kind: "pod group", Name: "g", UID: door.LabelledOwner(podGroup).UID, Runs: true, StartReason: "its pod group g runs already"}},
		"another task of a PipelineRun runs":               {[]*record{of(*door.LabelledOwner(ofRun), of(controlledBy("tekton.dev/v1", "TaskRun", "test"), runningMember("Pod", "w0")))}, newPod(ofRun, task), runs("PipelineRun", "ci")},
		"a Job of a CronJob is independent":                {[]*record{of(controlledBy("batch/v1", "CronJob", "nightly"), runningMember("Job", "a"))}, newJob(nil, controlledBy("batch/v1", "CronJob", "nightly")), Piece{}},
		"and so is a Job of an unknown kind":               {[]*record{of(pyTorchJob("x"), runningMember("Job", "a"))}, newJob(nil, pyTorchJob("x")), Piece{}},
		"a Job of a JobSet, the first":                     {nil, newJob(nil, jobSet("set")), known("JobSet", "set")},
		"a Job of a JobSet whose other Job runs":           {[]*record{of(jobSet("set"), runningMember("Job", "a"))}, newJob(nil, jobSet("set")), runs("JobSet", "set")},
		"a Job of a JobSet whose template alone has asked": {[]*record{of(jobSet("set"), jobWithoutStart(unannotated))}, newJob(nil, jobSet("set")), runs("JobSet", "set")},
		"a Job of a JobSet whose other Job is over":        {[]*record{of(jobSet("set"), over)}, newJob(nil, jobSet("set")), known("JobSet", "set")},
		"a Job of a JobSet whose other Job waits":          {[]*record{of(jobSet("set"), waitingMember("Job", "a", time.Hour))}, newJob(nil, jobSet("set")), waits("JobSet", "set", time.Hour)},
		"a Job of a JobSet that restarts": {nil, newJob(map[string]string{door.RestartLabel: "1"}, jobSet("set")),
			Piece{Kind: "JobSet", Name: "set", UID: "uid-set", Runs: true, StartReason: "its JobSet set restarts"}},
		"a Job of a JobSet that has not restarted": {nil, newJob(map[string]string{door.RestartLabel: "0"}, jobSet("set")), known("JobSet", "set")},
		"a name that is no name":                   {[]*record{of(pyTorchJob("a\x1b[2J"), runningMember("Pod", "w0"))}, newPod(nil, pyTorchJob("a\x1b[2J")), Piece{Kind: "PyTorchJob", Name: "a\x1b[2J", UID: "uid-a\x1b[2J", Runs: true, StartReason: "its PyTorchJob a [2J runs already"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, recordsOf(t, tt.records...).Piece("default", tt.of)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if p := (*Records)(nil).Piece("default", newPod(nil, driver)); p != (Piece{}) {
		t.Errorf("nothing is known, but %+v", p)
	}
}

// jobWithoutStart is a Job that was released at its creation.
func jobWithoutStart(job *record) *record {
	delete(job.Annotations, v1alpha1.StartedAnnotation)
	return job
}

func TestAPieceOfWorkIsRememberedForAnHour(t *testing.T) {
	clock := clocktesting.NewFakeClock(t0)
	records := recordsOf(t)
	records.pieces = newPieces(clock)
	handler := records.pieces.handler(records)
	step, pod := of(pyTorchJob("bert"), waitingMember("Pod", "w0", time.Hour)), newPod(nil, pyTorchJob("bert"))
	podGroup := map[string]string{door.PodGroupLabel: "g"}
	runs := func(o *corev1.Pod, after time.Duration) bool {
		o.CreationTimestamp = metav1.NewTime(t0.Add(after))
		return records.Piece("default", o).Runs
	}

	handler.OnAdd(step, true)
	handler.OnUpdate(step, of(pyTorchJob("bert"), waitingMember("Pod", "w0", 2*time.Hour)))
	if p := records.Piece("default", pod); p.Runs || !p.LatestStart.Equal(t0.Add(time.Hour)) {
		t.Errorf("while it waits: %+v", p)
	}
	started := of(pyTorchJob("bert"), runningMember("Pod", "w0"))
	handler.OnUpdate(of(pyTorchJob("bert"), waitingMember("Pod", "w0", 2*time.Hour)), started)
	if p := records.Piece("default", pod); !p.Runs || !p.LatestStart.IsZero() {
		t.Errorf("while it runs: %+v", p)
	}
	clock.SetTime(t0.Add(10 * time.Hour))
	if !runs(pod, 10*time.Hour) {
		t.Error("it runs for long, and is forgotten")
	}
	handler.OnDelete(started)
	if !runs(pod, 10*time.Hour+59*time.Minute) || runs(pod, 11*time.Hour) {
		t.Error("after its end, it is not remembered for an hour")
	}
	late := of(pyTorchJob("bert"), waitingMember("Pod", "w1", 20*time.Hour)) // before this cache has seen the release
	handler.OnAdd(late, false)
	if !runs(pod, 10*time.Hour+59*time.Minute) {
		t.Error("it is forgotten as another pod waits")
	}
	handler.OnDelete(late)
	if !runs(pod, 10*time.Hour+59*time.Minute) {
		t.Error("it is forgotten as that pod goes")
	}
	group := of(*door.LabelledOwner(podGroup), runningMember("Pod", "g0"))
	handler.OnAdd(group, false)
	handler.OnDelete(group)
	if runs(newPod(podGroup), 10*time.Hour) {
		t.Error("a pod group that has gone is remembered, although another may have its name")
	}
	if len(records.pieces.busy) > 0 || records.pieces.quiet["default"].Len() != 1 {
		t.Errorf("%d pieces are kept as busy and %d as quiet", len(records.pieces.busy), records.pieces.quiet["default"].Len())
	}
	for i := range 2 * maxQuietPieces {
		o := of(pyTorchJob(fmt.Sprint(i)), runningMember("Pod", fmt.Sprint(i)))
		handler.OnAdd(o, false)
		handler.OnDelete(o)
	}
	if n := records.pieces.quiet["default"].Len(); n != maxQuietPieces {
		t.Errorf("%d pieces are remembered", n)
	}
}

func TestTheChildOfWorkThatIsHeldWholeHasAnOwnerThatIsKnownByItsName(t *testing.T) {
	trainJob := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob",
		"metadata": map[string]any{"namespace": "n", "name": "bert", "uid": "t", "labels": map[string]any{v1alpha1.StateLabel: v1alpha1.StateReleased}},
	}}
	records, err := StaticRecords(trainJob)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"bert": "TrainJob", "another": "JobSet"} {
		if got := records.Piece("n", newJob(nil, jobSet(name))); got.Kind != want || got.IsDecided != (want == "TrainJob") {
			t.Errorf("a Job of the JobSet %s belongs to %+v", name, got)
		}
	}
}

func TestNoNamespaceMakesGridlatchForgetThePiecesOfAnother(t *testing.T) {
	pieces := newPieces(clocktesting.NewFakePassiveClock(t0))
	pieces.remember(groupKey{"a", "u"}, quietPiece{ranUntil: t0})
	for i := range 2 * maxQuietPieces {
		pieces.remember(groupKey{"b", types.UID(fmt.Sprint(i))}, quietPiece{ranUntil: t0})
	}
	if _, isQuiet := pieces.quietPiece(groupKey{"a", "u"}); !isQuiet {
		t.Error("the piece is forgotten")
	}
}
