package serving

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// maxName bounds what names something in a review. Kubernetes allows 253 bytes.
const maxNameBytes = 4 << 10

// ReviewLimits are those of an intake of AdmissionReviews.
//
// At creation there is one object in a review. etcd takes 1.5 MiB of one, of which
// each byte may be an escape of six in JSON, as < is; and the rest of a review, and
// the names of fields, take less than another MiB. The API server would read 3 MiB
// of a request, but what is beyond cannot be created.
//
// Small reviews, some KB as a rule, never wait for room: each connection may have
// one. Of larger ones, two at a time leave turns to the small.
func ReviewLimits() Limits {
	const small = 64 << 10
	return Limits{MaxBody: 10 << 20, SmallBody: small, SmallMemory: MaxConnections * small, LargeBodies: 2, Concurrency: 4}
}

// A Review is what matters of the request in an AdmissionReview.
type Review struct {
	UID                          types.UID
	Kind                         metav1.GroupVersionKind
	Operation                    admissionv1.Operation
	SubResource, Namespace, Name string
	// Username is that of who asks.
	Username string
	// Object is the object as JSON, part of the body of the review.
	Object []byte
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

// into reads a name.
func (r Reader) textInto(path string, to *string) func() error {
	return func() (err error) {
		*to, err = r.Text(path, maxNameBytes)
		return err
	}
}

// Reviews serves AdmissionReviews, which are counted by a path.
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
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		err := i.Serve(w, req, answer)
		m.count(path, err)
		if err != nil {
			log.FromContext(req.Context()).V(1).Info("a review is not answered", "path", path, "caller", req.RemoteAddr, "because", err.Error())
		}
	})
}
