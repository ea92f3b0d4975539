package ceiling

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/plan"
)

// report is what a scaler's status says.
type report struct {
	// reason and message are those of the condition. isSuccess says that the operator would have
	// succeeded.
	reason, message string
	isSuccess       bool
	// rule says which rule applies. Without a rule, the status has the message there.
	rule          string
	eco           *ecoState
	max, original *int32
	next          time.Time // when the ceiling will be another one
	warnings      []string
}

// report returns what a state of eco mode says, in the operator's words.
func (e *ecoState) report(r ref, problem error) report {
	switch {
	case !e.isKnown && problem != nil:
		return report{reason: carbonaware.ReasonCarbonDataFetchError, message: "failed to fetch carbon forecast: " + problem.Error()}
	case e.mistake != nil:
		return report{reason: carbonaware.ReasonEcoModeDisabledError, message: "unable to parse eco mode off configs: " + e.mistake.Error()}
	case e.offReason != "":
		return report{reason: carbonaware.ReasonEcoModeDisabled, message: "operator successfully reconciling but eco mode is disabled"}
	case r.kind == scaledJob:
		return report{isSuccess: true, reason: carbonaware.ReasonSucceeded, message: "operator successfully reconciling"}
	default:
		return report{isSuccess: true, reason: carbonaware.ReasonSucceeded, message: "operator successfully reconciling and eco mode is enabled"}
	}
}

// add adds what has come of a verdict.
func (rep *report) add(r ref, o *outcome, err error) {
	rep.original, rep.max = replicas(o.change.standing.Original), o.change.ceiling
	if !o.change.again.IsZero() {
		rep.rule = "the ceiling was lowered a short time ago, and is lowered again at " + plan.FormatTime(o.change.again) + ": " + rep.rule
	}
	switch {
	case err != nil:
		rep.reason, rep.message = carbonaware.ReasonTargetUpdateFailed, "failed to update "+strings.ToLower(string(r.kind))+": "+err.Error()
	case o.isReverted:
		rep.reason, rep.message = carbonaware.ReasonTargetReverted, o.waits
	case o.waits != "":
		rep.reason, rep.message = carbonaware.ReasonWaitingForJobs, o.waits
	default:
		return
	}
	rep.isSuccess, rep.max, rep.rule = false, nil, ""
}

// reportScaler writes the status of a scaler if it is another one.
func (c *Controller) reportScaler(ctx context.Context, s *carbonaware.CarbonAwareKedaScaler, rep report) error {
	status := rep.status(s)
	if equality.Semantic.DeepEqual(&s.Status, status) {
		return nil
	}
	data, _ := json.Marshal([]map[string]any{ // of plain fields: no error is possible
		{"op": "add", "path": "/status", "value": status},
	})
	object := &carbonaware.CarbonAwareKedaScaler{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name}}
	err := c.Client.Status().Patch(ctx, object, client.RawPatch(types.JSONPatchType, data), client.FieldOwner(override.Manager))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("patch status of %s: %w", nameOf(s), err)
	}
	return nil
}

// status returns the status of a scaler by a report.
func (rep *report) status(s *carbonaware.CarbonAwareKedaScaler) *carbonaware.CarbonAwareKedaScalerStatus {
	message := shortened(rep.message, maxReasonBytes)
	status := s.Status.DeepCopy()
	status.ObservedGeneration = s.Generation
	status.Intensity, status.Bucket, status.Reason = nil, "", message
	if rep.rule != "" {
		status.Reason = shortened(rep.rule, maxReasonBytes)
	}
	status.MaxReplicas, status.OriginalMaxReplicas, status.NextChange = rep.max, rep.original, nil
	status.Warnings = rep.warnings
	if e := rep.eco; e != nil {
		status.Bucket = e.bucket
		if e.isKnown {
			status.Intensity = ptr.To(int32(math.Round(e.intensity)))
		}
	}
	if !rep.next.IsZero() {
		status.NextChange = ptr.To(metav1.NewTime(rep.next.UTC().Truncate(time.Second)).Rfc3339Copy())
	}
	condition := metav1.Condition{
		Type: carbonaware.ConditionDegraded, Status: metav1.ConditionTrue, Reason: rep.reason,
		Message: message, ObservedGeneration: s.Generation,
	}
	if rep.isSuccess {
		condition.Status = metav1.ConditionFalse
	}
	apimeta.SetStatusCondition(&status.Conditions, condition)
	return status
}
