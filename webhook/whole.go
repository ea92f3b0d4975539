package webhook

import (
	"cmp"
	"context"
	"fmt"
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/serving"
)

// doorOf returns the door of the objects of a request; nil if the kind or the version has none.
func doorOf(req serving.Review) *door.Door {
	kind := schema.GroupVersionKind{Group: req.Kind.Group, Version: req.Kind.Version, Kind: req.Kind.Kind}
	if d := door.Of(kind.GroupKind()); d != nil && d.Kind == kind {
		return d
	}
	return nil
}

// admitWhole decides on an object of a kind with a door.
func (w *Webhook) admitWhole(ctx context.Context, req serving.Review, d *door.Door) (verdict, error) {
	o, err := readWhole(req.Object, d)
	if err != nil { // the API server sends JSON, so that a field has the wrong type
		return verdict{outcome: failed}.warn(notHeld + err.Error()), nil
	}
	o.mark = forgetMark(&o.ObjectMeta, &o.original, d.IsClosed(o.content))
	o.CreationTimestamp = metav1.NewTime(w.Clock.Now())
	before := copyMetadata(o.ObjectMeta)
	v, err := w.decideWhole(ctx, req, o)
	if err != nil {
		return verdict{}, err
	}
	v = v.ifWholeFits(o, before)
	v = o.mark.leaveClosed(v, &o.ObjectMeta, &o.original, o.CreationTimestamp.Time, w.whyUnableWhole(req.Namespace, d), o.setAt(d.Field, d.Open))
	if v.changesMetadata {
		v.patch = append(o.original.patch(o.ObjectMeta), v.patch...)
	}
	if o.tooLarge == nil {
		v = v.warn(policy.UnknownKeys(o.Annotations, field.NewPath("metadata", "annotations"))...)
	}
	return v, nil
}

// decideWhole decides on an object whose marks of Gridlatch are removed.
func (w *Webhook) decideWhole(ctx context.Context, req serving.Review, o *decodedWhole) (verdict, error) {
	switch {
	case o.tooLarge != nil: // the annotations may be missing
		delete(o.Labels, v1alpha1.StateLabel)
		return verdict{outcome: started, changesMetadata: true}.warn(notHeld + o.tooLarge.Error()), nil
	case w.isWholeAudited(ctx, req, o):
		return w.auditWhole(ctx, req, o)
	case !wantToWait(o):
		return stripWhole(o), nil
	}
	path := field.NewPath("metadata", "annotations")
	errs := append(checkAsk(o, o.CreationTimestamp.Time, field.NewPath("metadata")), checkHoldWhole(o, path)...)
	if len(errs) > 0 {
		return refuseOrStart(o, errs).verdict(o.Annotations, o.start), nil
	}
	piece := w.Records.Piece(req.Namespace, o)
	if piece.StartReason != "" {
		return o.start(piece.StartReason), nil
	}
	if o.mark.opened {
		return o.start(hold.ReasonTaken), nil
	}
	if o.isPartOfRun() {
		return o.start("its PipelineRun decides when the work starts"), nil
	}
	if why := o.whyNotHeld(); why != "" {
		return o.refrain(why), nil
	}
	ask, _ := policy.ParseAsk(policy.AskAnnotations(o), o.CreationTimestamp.Time, path) // checkAsk has seen no errors
	warnings := leaveUninterrupted(&ask, o.whyNeverPaused())
	chosen, err := w.choosePolicy(ctx, ask, o, req.Namespace, path)
	if err != nil {
		return verdict{}, err
	}
	if chosen.policy == nil {
		return chosen.verdict(o.Annotations, o.start), nil
	}
	return w.holdByDoor(req, o, chosen.policy, ask, piece).warn(warnings...), nil
}

// checkHoldWhole refuses an object that asks to be held by the gates of its pods, or for what only Jobs do.
func checkHoldWhole(o *decodedWhole, path *field.Path) field.ErrorList {
	if how := o.Annotations[v1alpha1.HoldAnnotation]; how == v1alpha1.HoldByGate {
		want := fmt.Sprintf("a %s is always held as a whole: remove this annotation, or write %q", o.door.Kind.Kind, v1alpha1.HoldBySuspend)
		return field.ErrorList{field.Invalid(path.Key(v1alpha1.HoldAnnotation), how, want)}
	}
	if widths, ok := o.Annotations[v1alpha1.ParallelismAnnotation]; ok {
		return field.ErrorList{field.Invalid(path.Key(v1alpha1.ParallelismAnnotation), widths, "only a Job runs at several widths, not a "+o.door.Kind.Kind+": remove this annotation")}
	}
	return nil
}

// whyNotHeld says why an object is not held whatever the grid does.
func (o *decodedWhole) whyNotHeld() string {
	if owner := door.OfController(o); owner != nil && owner.WritesChildren {
		return annotateOwner(owner, "decides when it starts")
	}
	if tool := o.original.tool; tool != nil && tool.WhyNeverHeld != "" {
		return tool.WhyNeverHeld
	}
	if manager := o.door.ManagedBy(o.content); manager != "" {
		return "it is managed by " + manager
	}
	if why := hold.WhyNotInQueue(o); o.isQueued() && why != "" {
		return why
	}
	if !o.isQueued() && !o.mark.closed && o.door.IsSet(o.content) { // Kueue closes the door of what is queued
		return fmt.Sprintf("its %s was closed by its user, who must also open it", door.FormatPath(o.door.Field))
	}
	if o.door.Refusal != nil {
		return o.door.Refusal(o.content)
	}
	return ""
}

// isPartOfRun reports whether a PipelineRun of Tekton controls an object. Tekton copies the wish of the
// PipelineRun to the object, so the object itself may have asked for nothing.
func (o *decodedWhole) isPartOfRun() bool {
	owner := door.OfController(o)
	return owner != nil && owner.Kind.Group == "tekton.dev" && owner.WritesChildren
}

// isQueued reports whether an object waits for a queue of Kueue.
func (o *decodedWhole) isQueued() bool {
	return o.door.KueueAdmits && o.Labels[hold.KueueQueueLabel] != ""
}

// holdByDoor closes the door of an object if waiting pays.
func (w *Webhook) holdByDoor(req serving.Review, o *decodedWhole, rules *policy.Policy, ask policy.Ask, piece gating.Piece) verdict {
	now := o.CreationTimestamp.Time
	if rules.ChoosesLocation() && ask.Location == "" { // Gridlatch cannot send the work to another
		ask.Candidates = rules.ResolveLocation("")
		o.Annotations[v1alpha1.CandidateLocationsAnnotation] = ask.Candidates
	}
	task, tooLittle := o.limit(rules, &ask)
	task.ID = policy.TaskID(o, req.UID) // the object has no UID yet
	promiseOf(piece).apply(&task)
	decision := rules.Decide(w.Store.Snapshot(rules.Source), ask.Location, now, task)
	decision.StillWaitsFor = gating.WholeStillWaits(o.isQueued())
	if rules.HasBuckets() || !piece.LatestStart.IsZero() { // planned with the others
		decision = w.queue(decision)
	}
	o.Annotations[v1alpha1.PolicyAnnotation] = rules.Name
	maps.Copy(o.Annotations, policy.DurationNotes(ask))
	switch why := w.whyUnableWhole(req.Namespace, o.door); {
	case tooLittle != "":
		return o.refrain(tooLittle)
	case !decision.Holds():
		if ask.Interruptible {
			notePromise(o, decision)
		}
		return w.note(o.start(decision.Reason()), rules, decision).warn(toolWarning(ask)...)
	case why != "":
		return o.refrain(why)
	}
	maps.Copy(o.Annotations, rules.Notes(decision))
	o.Labels[v1alpha1.StateLabel] = v1alpha1.StateHeld
	return w.note(o.close(), rules, decision).warn(toolWarning(ask)...)
}

// limit returns the task of an object. Of the object's own time limit and the tool that has created the
// object, the one that lets the object wait less counts, and is noted in the ask. tooLittle says that the
// object's own limit alone leaves no time to wait.
func (o *decodedWhole) limit(rules *policy.Policy, ask *policy.Ask) (task plan.Task, tooLittle string) {
	now := o.CreationTimestamp.Time
	ask.Tool = o.original.tool
	task = rules.Task(*ask, now)
	limit, ok := o.door.TimeLimit(o.content)
	if !ok {
		return task, ""
	}
	setting, own := door.FormatPath(o.door.Limit), *ask
	own.Tool = policy.LimitOfWork(o.door.Engine, setting, limit)
	limited := rules.Task(own, now)
	if ask.Tool != nil && !limited.LatestStart.Before(task.LatestStart) {
		return task, ""
	}
	*ask = own
	if task.LatestStart.After(now) && !limited.LatestStart.After(now) {
		tooLittle = fmt.Sprintf("its %s of %d s leaves it no time to wait", setting, int(limit.Seconds()))
	}
	return limited, tooLittle
}

// close holds an object: by its door, or at its queue. If the object is in a queue, Kueue closes the
// door itself. If Gridlatch had closed the door before the object came into the queue, the mark of the
// closed door stays, so that the release opens the door.
func (o *decodedWhole) close() verdict {
	v := verdict{outcome: held, changesMetadata: true}
	if o.isQueued() {
		o.Annotations[hold.KueueGatesAnnotation] = hold.AddKueueGate(o.Annotations[hold.KueueGatesAnnotation])
		o.Annotations[v1alpha1.HeldByAnnotation] = v1alpha1.HoldByKueue
	}
	if !o.isQueued() || o.mark.closed {
		o.Annotations[v1alpha1.HeldByAnnotation] = v1alpha1.HoldBySuspend
		v.patch = o.setAt(o.door.Field, o.door.Closed)
	}
	return v
}

// start lets an object start at once.
func (o *decodedWhole) start(why string) verdict {
	o.Annotations[v1alpha1.ReasonAnnotation] = why
	o.Labels[v1alpha1.StateLabel] = v1alpha1.StateReleased
	return verdict{outcome: started, changesMetadata: true}
}

// refrain lets an object start at once that asks to be held and cannot be held.
func (o *decodedWhole) refrain(why string) verdict {
	return o.start(notHeld + why).asNotHeld(o.Annotations).warn(notHeld + why)
}

// whyUnableWhole says why nothing of a kind with a door is held in a namespace. The reason is empty if
// objects of the kind can be held.
func (w *Webhook) whyUnableWhole(namespace string, d *door.Door) string {
	return cmp.Or(w.Records.CanHold(d.Kind.GroupKind()), w.whyUnableWith(namespace, d.Component))
}

// ifWholeFits returns the verdict if its notes fit on the object. Otherwise the object starts without
// notes. before is the metadata of the object before the verdict.
func (v verdict) ifWholeFits(o *decodedWhole, before metav1.ObjectMeta) verdict {
	if !v.addsNotes() || o.original.annotations.fits(o.Annotations, v.reserved()) {
		return v
	}
	releaseWithoutNotes(&o.ObjectMeta, before)
	return verdict{outcome: started, changesMetadata: true}.warn(append(v.warnings, annotationsTooLarge())...)
}
