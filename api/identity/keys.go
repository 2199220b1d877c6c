package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

const (
	// minRSABits is what RFC 7518, section 3.3, asks of RS256.
	minRSABits = 2048
	// minSecretBytes is what RFC 7518, section 3.2, asks of HS256: as long as the hash.
	minSecretBytes = 32
)

// ErrKey is wrapped by the errors about key files.
var ErrKey = errors.New("key cannot be used")

// key is a key tied to the one method that it is used with. That, and nothing that a token says, decides how a signature is
// checked: an RSA key is never taken for an HMAC secret.
type key struct {
	id      string // empty if it has none
	method  jwt.SigningMethod
	public  any
	private any // nil if only the public half is known
}

// newKey finds the method of a key, public or private. HS256 is for secrets, which only the caller that asked for one has.
func newKey(id string, raw any) (key, error) {
	k := key{id: id, public: raw}
	if signer, ok := raw.(crypto.Signer); ok {
		k.private, k.public = signer, signer.Public()
	}
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		if public.N.BitLen() < minRSABits {
			return key{}, fmt.Errorf("%w: an RSA key of %d bits, at least %d are needed", ErrKey, public.N.BitLen(), minRSABits)
		}
		k.method = jwt.SigningMethodRS256
	case *ecdsa.PublicKey:
		if public.Curve != elliptic.P256() {
			return key{}, fmt.Errorf("%w: an EC key that is not on P-256", ErrKey)
		}
		k.method = jwt.SigningMethodES256
	case ed25519.PublicKey:
		k.method = jwt.SigningMethodEdDSA
	default:
		return key{}, fmt.Errorf("%w: not RSA, P-256 or Ed25519", ErrKey)
	}
	return k, nil
}

// keyFromJWK reads a JSON Web Key. Keys for encryption, and for methods other than their type's one, are errors here.
func keyFromJWK(jwk jwkset.JWK) (key, error) {
	description := jwk.Marshal()
	if description.KTY == jwkset.KtyOct {
		return key{}, fmt.Errorf("%w: a shared secret among public keys", ErrKey)
	}
	k, err := newKey(description.KID, jwk.Key())
	if err != nil {
		return key{}, err
	}
	use, ops := description.USE, description.KEYOPS
	switch {
	case description.ALG != "" && description.ALG.String() != k.method.Alg():
		return key{}, fmt.Errorf("%w: it is for %s, not for %s", ErrKey, description.ALG, k.method.Alg())
	case use != "" && use != jwkset.UseSig,
		len(ops) > 0 && !slices.Contains(ops, jwkset.KeyOpsVerify) && !slices.Contains(ops, jwkset.KeyOpsSign):
		return key{}, fmt.Errorf("%w: it is not for signatures", ErrKey)
	}
	return k, nil
}

// readKeyFile reads keys from a file: PEM (public and private keys, certificates; several blocks are several keys), a JWK, a JWK
// set, or, if secret is set, the raw bytes of a shared secret. Errors wrap ErrKey or are those of reading the file.
func readKeyFile(name string, secret bool) ([]key, error) {
	data, err := os.ReadFile(name) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("reading the key: %w", err)
	}
	keys, err := parseKeys(data, secret)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", name, err)
	}
	return keys, nil
}

func parseKeys(data []byte, secret bool) ([]key, error) {
	trimmed := bytes.TrimSpace(data)
	isPEM, isJSON := bytes.Contains(trimmed, []byte("-----BEGIN ")), bytes.HasPrefix(trimmed, []byte("{"))
	switch {
	case secret && (isPEM || isJSON):
		// A public key that everybody may know, used as a secret, would let everybody sign.
		return nil, fmt.Errorf("%w: HS256 needs a raw secret, and this is a PEM or JSON file", ErrKey)
	case secret:
		return parseSecret(data)
	case isPEM:
		return parsePEM(trimmed)
	case isJSON:
		return parseJWKs(trimmed)
	}
	return nil, fmt.Errorf("%w: neither PEM nor JWK (a shared secret must be asked for)", ErrKey)
}

// parseSecret takes the bytes as they are, but for one line's end, which editors and echo leave.
func parseSecret(data []byte) ([]key, error) {
	data = bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	if len(data) < minSecretBytes {
		return nil, fmt.Errorf("%w: a secret of %d bytes, at least %d are needed", ErrKey, len(data), minSecretBytes)
	}
	return []key{{method: jwt.SigningMethodHS256, public: data, private: data}}, nil
}

func parsePEM(data []byte) ([]key, error) {
	var keys []key
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		if block.Type == "EC PARAMETERS" { // openssl ecparam writes them before the key.
			continue
		}
		raw, err := parseBlock(block)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrKey, block.Type, err)
		}
		k, err := newKey("", raw)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 || len(bytes.TrimSpace(data)) > 0 {
		return nil, fmt.Errorf("%w: not all of it is PEM", ErrKey)
	}
	return keys, nil
}

func parseBlock(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return certificate.PublicKey, nil
	case "PRIVATE KEY":
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	}
	return nil, errors.New("unknown type of PEM block")
}

func parseJWKs(data []byte) ([]key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	if set.Keys == nil {
		set.Keys = []json.RawMessage{data}
	}
	keys := make([]key, 0, len(set.Keys))
	for _, raw := range set.Keys {
		jwk, err := jwkset.NewJWKFromRawJSON(raw, jwkset.JWKMarshalOptions{Private: true}, jwkset.JWKValidateOptions{})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrKey, err)
		}
		k, err := keyFromJWK(jwk)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: the set is empty", ErrKey)
	}
	return keys, nil
}
