package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
)

// key is a key of AES-256-GCM. Nonces are random: a key is good for four billion
// values.
type key [32]byte

// sealedVersion is the first byte of everything sealed.
const sealedVersion = 1

var errNotOpened = errors.New("it was sealed with another key, for another place, or is damaged")

func newKey() (k key) {
	_, _ = rand.Read(k[:]) // it never fails
	return k
}

func (k key) cipher() cipher.AEAD {
	block, err := aes.NewCipher(k[:])
	if err == nil {
		var aead cipher.AEAD
		if aead, err = cipher.NewGCMWithRandomNonce(block); err == nil {
			return aead
		}
	}
	panic(err) // only a key of another length is refused
}

// seal gives what can only be opened with the key, as what it is about.
func (k key) seal(about string, plain []byte) []byte {
	return k.cipher().Seal([]byte{sealedVersion}, nil, plain, []byte(about))
}

func (k key) open(about string, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != sealedVersion {
		return nil, errNotOpened
	}
	plain, err := k.cipher().Open(nil, nil, sealed[1:], []byte(about))
	if err != nil {
		return nil, errNotOpened
	}
	return plain, nil
}
