package serving

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// maxNameBytes bounds each name in a review. Kubernetes allows 253 bytes.
const maxNameBytes = 4 << 10

// ReviewLimits returns the limits for an intake of AdmissionReviews.
//
// A review of a creation has one object. etcd accepts objects up to 1.5 MiB. In JSON, each byte may
// be an escape of six bytes, as for <. The rest of a review takes less than another MiB. The API
// server would read requests of 3 MiB, but what is larger than etcd accepts cannot be created.
//
// Small reviews are usually some KB. They never wait for memory: each connection may have one. Two
// larger reviews at a time leave slots for small ones.
func ReviewLimits() Limits {
	const small = 64 << 10
	return Limits{MaxBody: 10 << 20, SmallBody: small, SmallMemory: MaxConnections * small, LargeBodies: 2, Concurrency: 4}
}

// Review is the part of an AdmissionReview's request that decisions need.
type Review struct {
	UID                          types.UID
	Kind                         metav1.GroupVersionKind
	Operation                    admissionv1.Operation
	SubResource, Namespace, Name string
	// Username names the user who creates the object.
	Username string
	// Object is the object as JSON, a part of the body of the review.
	Object []byte
}

// Refuse answers as the API server itself does for an invalid object.
func (r Review) Refuse(errs field.ErrorList) *admissionv1.AdmissionResponse {
	status := apierrors.NewInvalid(schema.GroupKind{Group: r.Kind.Group, Kind: r.Kind.Kind}, r.Name, errs).Status()
	status.Code = http.StatusUnprocessableEntity
	return &admissionv1.AdmissionResponse{Result: &status}
}

// ReadReview reads a body that is an AdmissionReview of version v1.
func ReadReview(body []byte) (Review, error) {
	r := NewReader(body)
	var review Review
	var kind, version string
	asked := false
	err := r.Fields("review", map[string]func() error{
		"kind":       r.textInto("kind", &kind),
		"apiVersion": r.textInto("apiVersion", &version),
		"request": func() error {
			asked = r.PeekKind() == '{'
			return r.readRequest(&review)
		},
	})
	switch {
	case err != nil:
		return review, err
	case kind != "AdmissionReview" || version != admissionv1.SchemeGroupVersion.String():
		return review, fmt.Errorf("%.40q of %.40q: want an AdmissionReview of %s", kind, version, admissionv1.SchemeGroupVersion)
	case !asked:
		return review, errors.New("request: want one")
	}
	return review, r.End()
}

func (r Reader) readRequest(into *Review) error {
	var uid, operation string
	err := r.Fields("request", map[string]func() error{
		"uid": r.textInto("request.uid", &uid),
		"kind": func() error {
			return r.Fields("request.kind", map[string]func() error{
				"group":   r.textInto("request.kind.group", &into.Kind.Group),
				"version": r.textInto("request.kind.version", &into.Kind.Version),
				"kind":    r.textInto("request.kind.kind", &into.Kind.Kind),
			})
		},
		"operation":   r.textInto("request.operation", &operation),
		"subResource": r.textInto("request.subResource", &into.SubResource),
		"namespace":   r.textInto("request.namespace", &into.Namespace),
		"name":        r.textInto("request.name", &into.Name),
		"userInfo": func() error {
			return r.Fields("request.userInfo", map[string]func() error{"username": r.textInto("request.userInfo.username", &into.Username)})
		},
		"object": func() (err error) {
			into.Object, err = r.Raw()
			return err
		},
	})
	into.UID, into.Operation = types.UID(uid), admissionv1.Operation(operation)
	return err
}

// textInto returns a function that reads a name.
func (r Reader) textInto(path string, to *string) func() error {
	return func() (err error) {
		*to, err = r.Text(path, maxNameBytes)
		return err
	}
}

// Reviews serves AdmissionReviews, and counts them by a path.
func (i *Intake) Reviews(path string, m *Metrics, decide func(context.Context, Review) *admissionv1.AdmissionResponse) http.Handler {
	answer := func(ctx context.Context, body []byte, to *bytes.Buffer) error {
		review, err := ReadReview(body)
		if err != nil {
			return err
		}
		answer := admissionv1.AdmissionReview{Response: decide(ctx, review)}
		answer.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind("AdmissionReview"))
		answer.Response.UID = review.UID
		return json.NewEncoder(to).Encode(answer)
	}
	m.begin(path)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		began := m.now()
		err := i.Serve(w, req, answer)
		m.count(path, began, err)
		if err != nil {
			log.FromContext(req.Context()).V(1).Info("could not answer an AdmissionReview", "path", path, "caller", req.RemoteAddr, "because", err.Error())
		}
	})
}
