/* SPDX-License-Identifier: Apache-2.0 */
/*
 * envelope: secrets wrapped by keys that stay with their custodians. An envelope is an AND of ORs
 * in JWE (RFC 7516, general JSON): each layer is one JWE whose recipients are alternatives, and its
 * plaintext is the next layer. Large files are streams: an envelope that holds the bulk key, then
 * authenticated chunks. It never talks to a token or a server itself (key does), never decides who
 * may open what (the custodians do), and never writes a byte that it has not authenticated.
 */
#ifndef KYOK_ENVELOPE_H
#define KYOK_ENVELOPE_H

#include "common/base/base.h"
#include "common/config/config.h"
#include "common/key/key.h"

#define KYOK_ENVELOPE_MAX ((size_t)2 << 20)         /* bytes of one envelope, all layers */
#define KYOK_ENVELOPE_SECRET_MAX ((size_t)64 << 10) /* bytes of the secret inside */
#define KYOK_ENVELOPE_MAX_LAYERS KYOK_POLICY_MAX_CLAUSES
#define KYOK_ENVELOPE_MAX_RECIPIENTS KYOK_POLICY_MAX_ALTERNATIVES

/* What an envelope says of its secret, authenticated by every layer. use: 1 to 64 of
 * [A-Za-z0-9._-]. owner: UTF-8 without control characters, at most 512 bytes, may be "".
 * generation: below 2^53; the caller counts it up when the secret itself changes, never for new
 * recipients. */
struct kyok_envelope_claims {
    const char *use;
    const char *owner;
    uint64_t generation;
};

/* What the opener insists on. NULL: any (only for a person who reads the claims: programs name use
 * and owner). Generations outside [least, most] are refused; most 0: no upper bound. */
struct kyok_envelope_expected {
    const char *use;
    const char *owner;
    uint64_t least_generation;
    uint64_t most_generation;
};

enum kyok_envelope_algorithm {
    KYOK_ENVELOPE_AUTOMATIC, /* A256GCMKW for AES keys, A256KW where the token lacks GCM,
                                RSA-OAEP-256 */
    KYOK_ENVELOPE_A256GCMKW,
    KYOK_ENVELOPE_A256KW,
    KYOK_ENVELOPE_RSA_OAEP_256,
};

enum kyok_envelope_content {
    KYOK_ENVELOPE_SECRET,     /* no "cty" in the innermost layer */
    KYOK_ENVELOPE_STREAM_KEY, /* the key of a stream's chunks */
};

/* Bytes done so far of a stream, once per chunk; from another thread, but never two at once. */
typedef void kyok_envelope_progress(void *caller, uint64_t done);

/* All zero (or a NULL pointer) is the ordinary case. */
struct kyok_envelope_options {
    enum kyok_envelope_algorithm algorithm; /* sealing; for AES keys */
    bool foreign; /* opening and inspecting: any RFC 7516 JSON of the three algorithms, claims
                     optional */
    /* Opening foreign JSON whose recipients carry no reference of kyok's: the key to try. */
    const struct kyok_reference *key;
    /* Opening and changing: for the whole call's waits on custodians; 0: each group's own. */
    unsigned timeout_ms;
    kyok_envelope_progress *progress;
    void *caller;            /* for progress */
    struct kyok_bytes begun; /* streams: what the caller has read from the input already */
};

/* --- secrets --------------------------------------------------------------------------------- */

/* Seals secret to policy: one layer per clause (the first is outermost), its alternatives as
 * recipients. Every custodian named must answer (an RSA one only to give its public key). The
 * canonical JSON, without a final newline, is appended to json; nothing is on failure. */
enum kyok_status kyok_envelope_seal(struct kyok_context *context, const struct kyok_policy *policy,
                                    const struct kyok_envelope_claims *claims,
                                    struct kyok_bytes secret,
                                    const struct kyok_envelope_options *options,
                                    struct kyok_buffer *json, struct kyok_error *err);

struct kyok_envelope;

/* Opens every layer; of alternatives the first that answers suffices, and a dead one is not waited
 * for. The claims are compared before any custodian is asked, and again as authenticated. *opened
 * (may be NULL) gets what was read and authenticated. Emits an event: open, or refuse.
 * KYOK_TAMPERED: authentication failed; KYOK_REFUSED: claims differ, or a custodian said no;
 * KYOK_INVALID: not canonical. */
enum kyok_status kyok_envelope_open(struct kyok_context *context, struct kyok_bytes json,
                                    const struct kyok_envelope_expected *expected,
                                    const struct kyok_envelope_options *options,
                                    struct kyok_secret **secret, struct kyok_envelope **opened,
                                    struct kyok_error *err);

/* --- reading without a custodian ------------------------------------------------------------- */

struct kyok_envelope_recipient {
    enum kyok_envelope_algorithm algorithm;
    const char *kid; /* reference; NULL only in foreign ones */
};

struct kyok_envelope_layer {
    const struct kyok_envelope_recipient *recipients; /* alternatives */
    size_t count;
};

/* Parses and checks the form, contacts nothing: nothing below is authenticated unless the envelope
 * came from kyok_envelope_open(). Fuzzed. */
enum kyok_status kyok_envelope_inspect(struct kyok_bytes json,
                                       const struct kyok_envelope_options *options,
                                       struct kyok_envelope **envelope, struct kyok_error *err);
/* NULL for a foreign envelope without claims. */
const struct kyok_envelope_claims *kyok_envelope_claims(const struct kyok_envelope *envelope);
enum kyok_envelope_content kyok_envelope_content(const struct kyok_envelope *envelope);
/* Layer 0 is the outermost; the others are as layer 0 names them ("inner"), compared on opening. A
 * foreign envelope shows its outermost layer only until it is opened. */
size_t kyok_envelope_layer_count(const struct kyok_envelope *envelope);
const struct kyok_envelope_layer *kyok_envelope_layer(const struct kyok_envelope *envelope,
                                                      size_t layer);
/* True if some layer has only symmetric recipients, so that whoever made the envelope could use one
 * of those keys. An envelope sealed only to RSA keys proves nothing about its maker. */
bool kyok_envelope_proves_maker(const struct kyok_envelope *envelope);
/* "A256GCMKW", ... */
const char *kyok_envelope_algorithm_name(enum kyok_envelope_algorithm algorithm);
/* KYOK_ENVELOPE_AUTOMATIC for an unknown name. */
enum kyok_envelope_algorithm kyok_envelope_algorithm_by_name(const char *name);
/* Compares claims with what is expected, naming the one that differs. claims NULL: there are none.
 */
enum kyok_status kyok_envelope_expect(const struct kyok_envelope_claims *claims,
                                      const struct kyok_envelope_expected *expected,
                                      struct kyok_error *err);
void kyok_envelope_free(struct kyok_envelope *envelope); /* NULL is allowed */

/* --- other recipients, same secret ----------------------------------------------------------- */

/* One change to the alternatives of one layer. A kept recipient whose layer loses none is not
 * contacted; when one is removed, the layer gets a new content key and all that stay are. */
struct kyok_envelope_change {
    size_t layer;
    const struct kyok_reference *const *add;
    size_t add_count;
    const char *const *remove; /* kids, exactly as inspect shows them */
    size_t remove_count;
    bool refresh; /* a new content key for this layer even if none is removed */
};

/* Applies changes. Only the layers down to the innermost changed one are opened, and only their
 * small contents are encrypted again; deeper layers stay as they are, and the secret is not seen.
 */
enum kyok_status kyok_envelope_change(struct kyok_context *context, struct kyok_bytes json,
                                      const struct kyok_envelope_expected *expected,
                                      const struct kyok_envelope_change *changes, size_t count,
                                      const struct kyok_envelope_options *options,
                                      struct kyok_buffer *changed, struct kyok_error *err);

/* Brings the envelope to policy. With as many clauses as layers it is a change of recipients, layer
 * by layer; otherwise the secret is opened and sealed anew. Claims stay. */
enum kyok_status kyok_envelope_rewrap(struct kyok_context *context, struct kyok_bytes json,
                                      const struct kyok_envelope_expected *expected,
                                      const struct kyok_policy *policy,
                                      const struct kyok_envelope_options *options,
                                      struct kyok_buffer *rewrapped, struct kyok_error *err);

/* --- streams --------------------------------------------------------------------------------- */

/* Seals in to out, both any kind of descriptor, in constant memory. KYOK_INCOMPLETE: the reader of
 * a pipe left. */
enum kyok_status kyok_stream_seal(struct kyok_context *context, const struct kyok_policy *policy,
                                  const struct kyok_envelope_claims *claims, int in, int out,
                                  const struct kyok_envelope_options *options,
                                  struct kyok_error *err);

/* Opens in to out. Every byte written is authenticated and in its place; that the end was reached
 * is known only from KYOK_OK. KYOK_INCOMPLETE: the stream is cut, or bytes had been written when a
 * chunk failed. For a file under a name use kyok_new_file below. */
enum kyok_status kyok_stream_open(struct kyok_context *context, int in, int out,
                                  const struct kyok_envelope_expected *expected,
                                  const struct kyok_envelope_options *options,
                                  struct kyok_envelope **opened, struct kyok_error *err);

/* True if the first bytes of a file are those of a stream; KYOK_STREAM_MAGIC_SIZE are enough. */
#define KYOK_STREAM_MAGIC_SIZE 8
bool kyok_stream_is(struct kyok_bytes start);
/* Reads a stream's envelope from in, which is left at its first chunk. */
enum kyok_status kyok_stream_read_envelope(int in, struct kyok_buffer *json,
                                           struct kyok_error *err);
/* Writes the stream of in, a regular file, to out with another envelope; chunks are copied as they
 * are (shared by the file system where it can). */
enum kyok_status kyok_stream_replace_envelope(int in, int out, struct kyok_bytes json,
                                              struct kyok_error *err);

/* --- files that appear whole or not at all --------------------------------------------------- */

/* A file without a name in path's folder, so that nothing of it stays when the process is killed;
 * on a file system that has none, a temporary file beside path. It takes the name only on commit.
 * The temporary one is PATH, this and six characters: no name that a person gives a copy. */
#define KYOK_NEW_FILE_MARK ".kyok-tmp."
struct kyok_new_file {
    int fd; /* -1: none */
    char *path, *temporary;
    bool named; /* temporary is there */
};

enum kyok_status kyok_new_file_create(const char *path, unsigned mode, struct kyok_new_file *file,
                                      struct kyok_error *err);
enum kyok_status kyok_new_file_write(struct kyok_new_file *file, struct kyok_bytes bytes,
                                     struct kyok_error *err);
/* fsync, link under the temporary name, rename, fsync of the folder. */
enum kyok_status kyok_new_file_commit(struct kyok_new_file *file, struct kyok_error *err);
/* Removes the temporary unless committed. For KYOK_CLEANUP. */
void kyok_new_file_discard(struct kyok_new_file *file);

#endif
