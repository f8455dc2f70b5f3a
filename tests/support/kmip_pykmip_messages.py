# SPDX-License-Identifier: Apache-2.0
# kmip_pykmip_messages.py FOLDER: what PyKMIP's client sends and its server answers, without a network,
# for each operation and version that it has: VERSION-NN-request and VERSION-NN-response in FOLDER.
import logging
import os
import sys

from kmip.core import attributes, enums, objects, policy, utils
from kmip.core.factories import attributes as attribute_factory
from kmip.core.messages import contents, messages, payloads
from kmip.pie import client as pie
from kmip.pie import objects as pobjects
from kmip.services.server import engine as server

logging.disable(logging.CRITICAL)
FOLDER = sys.argv[1]
MASKS = [enums.CryptographicUsageMask.ENCRYPT, enums.CryptographicUsageMask.DECRYPT,
         enums.CryptographicUsageMask.MAC_GENERATE, enums.CryptographicUsageMask.DERIVE_KEY]


class Wire:
    """Stands where the TLS connection would: the engine's answer to what was written."""

    def __init__(self, version, engine):
        self.version, self.engine, self.count = version, engine, 0

    def save(self, kind, data):
        name = "%s-%02d-%s" % (self.version.name[5:].replace("_", "."), self.count, kind)
        with open(os.path.join(FOLDER, name), "wb") as file:
            file.write(bytes(data))

    def write(self, data):
        self.count += 1
        self.save("request", data)
        request = messages.RequestMessage()
        request.read(utils.BytearrayStream(data), kmip_version=self.version)
        try:
            response, _, _ = self.engine.process_request(request, ("alice", None))
        except Exception:
            response = self.engine.build_error_response(
                request.request_header.protocol_version,
                enums.ResultReason.GENERAL_FAILURE, "failed")
        stream = utils.BytearrayStream()
        response.write(stream, kmip_version=self.version)
        self.answer = stream.buffer
        self.save("response", self.answer)

    def read(self):
        return utils.BytearrayStream(self.answer)


def attempt(call, *arguments, **words):
    """What PyKMIP refuses or cannot do itself is of no interest: the bytes are saved already."""
    try:
        return call(*arguments, **words)
    except Exception:
        return None


def lifecycle(kmip):
    algorithm = enums.CryptographicAlgorithm
    key = kmip.create(algorithm.AES, 256, name="disk",
                      cryptographic_usage_mask=MASKS)
    wrapping = kmip.create(algorithm.AES, 256, name="kek",
                           cryptographic_usage_mask=[enums.CryptographicUsageMask.WRAP_KEY])
    pair = kmip.create_key_pair(
        algorithm.RSA, 2048, public_name="public",
                   public_usage_mask=[enums.CryptographicUsageMask.VERIFY], private_name="private",
                   private_usage_mask=[enums.CryptographicUsageMask.SIGN])
    for thing in (
            pobjects.SymmetricKey(algorithm.AES, 128, b"0123456789abcdef", masks=MASKS, name="registered"),
            pobjects.SecretData(b"secret", enums.SecretDataType.PASSWORD),
            pobjects.OpaqueObject(b"opaque", enums.OpaqueDataType.NONE)):
        attempt(kmip.get, attempt(kmip.register, thing))
    attempt(kmip.get_attribute_list, key)
    attempt(kmip.get_attributes, key)
    attempt(kmip.get_attributes, key, ["State", "Name", "Cryptographic Length"])
    names = attribute_factory.AttributeFactory()
    attempt(kmip.locate, maximum_items=2, attributes=[
        names.create_attribute(enums.AttributeType.OBJECT_TYPE, enums.ObjectType.SYMMETRIC_KEY),
        names.create_attribute(enums.AttributeType.CRYPTOGRAPHIC_LENGTH, 256)])
    for identifier in (key, wrapping) + tuple(pair):
        attempt(kmip.activate, identifier)
    return key, wrapping, pair


def use(kmip, key, wrapping, pair):
    cbc = {"cryptographic_algorithm": enums.CryptographicAlgorithm.AES,
           "block_cipher_mode": enums.BlockCipherMode.CBC, "padding_method": enums.PaddingMethod.PKCS5}
    rsa = {"cryptographic_algorithm": enums.CryptographicAlgorithm.RSA,
           "hashing_algorithm": enums.HashingAlgorithm.SHA_256, "padding_method": enums.PaddingMethod.PSS}
    vector = b"0123456789abcdef"
    attempt(kmip.get, key)
    attempt(kmip.get, key, {"wrapping_method": enums.WrappingMethod.ENCRYPT, "encryption_key_information": {
        "unique_identifier": wrapping,
        "cryptographic_parameters": {"block_cipher_mode": enums.BlockCipherMode.NIST_KEY_WRAP}},
        "encoding_option": enums.EncodingOption.NO_ENCODING})
    secret = attempt(kmip.encrypt, b"data", key, cbc, vector)
    attempt(kmip.decrypt, secret[0] if secret else vector, key, cbc, vector)
    for identifier in pair:
        attempt(kmip.get, identifier)
    public, private = pair
    signature = attempt(kmip.sign, b"data", private, rsa)
    attempt(kmip.signature_verify, b"data", signature or b"none", public, rsa)
    attempt(kmip.mac, b"data", key, enums.CryptographicAlgorithm.HMAC_SHA256)
    derive(kmip, key)


def derive(kmip, key):
    methods = enums.DerivationMethod
    hashing = {"cryptographic_parameters": {"hashing_algorithm": enums.HashingAlgorithm.SHA_256}}
    for method, more in ((methods.PBKDF2, {"salt": b"salt", "iteration_count": 1000}),
                         (methods.HMAC, {"salt": b"salt", "derivation_data": b"data"}), (methods.HASH, {}),
                         (methods.ENCRYPT, {"initialization_vector": b"0123456789abcdef",
                                            "derivation_data": b"data"})):
        attempt(kmip.derive_key, enums.ObjectType.SYMMETRIC_KEY, [key], method, dict(hashing, **more),
                cryptographic_length=128, cryptographic_algorithm=enums.CryptographicAlgorithm.AES)
    attempt(kmip.derive_key, enums.ObjectType.SECRET_DATA, [key], methods.HASH, hashing,
            cryptographic_length=256)


def change(kmip, key, two):
    if two:
        attempt(kmip.set_attribute, key, attribute_name="Sensitive", attribute_value=True)
        attempt(kmip.modify_attribute, key, new_attribute=objects.NewAttribute(
            attribute=attributes.Name.create("other", enums.NameType.UNINTERPRETED_TEXT_STRING)),
            current_attribute=objects.CurrentAttribute(
                attribute=attributes.Name.create("disk", enums.NameType.UNINTERPRETED_TEXT_STRING)))
        attempt(kmip.delete_attribute, key, attribute_reference=objects.AttributeReference(
            vendor_identification="x", attribute_name="Product"))
    else:
        attempt(kmip.modify_attribute, key, attribute=objects.Attribute(
            attribute_name=objects.Attribute.AttributeName("Name"),
            attribute_index=objects.Attribute.AttributeIndex(0),
            attribute_value=attributes.Name.create("other", enums.NameType.UNINTERPRETED_TEXT_STRING)))
        attempt(kmip.delete_attribute, key, attribute_name="Name", attribute_index=0)
    attempt(kmip.rekey, key)
    attempt(kmip.revoke, enums.RevocationReasonCode.CESSATION_OF_OPERATION, key, "done")
    attempt(kmip.destroy, key)
    attempt(kmip.get, key)


def ask(kmip):
    functions = [enums.QueryFunction.QUERY_OPERATIONS, enums.QueryFunction.QUERY_OBJECTS,
                 enums.QueryFunction.QUERY_SERVER_INFORMATION]
    attempt(kmip.proxy.query, query_functions=functions)
    attempt(kmip.proxy.discover_versions, protocol_versions=[contents.ProtocolVersion(1, 4)])
    attempt(kmip.proxy.discover_versions)


for version in enums.KMIPVersion:
    kmip = pie.ProxyKmipClient(hostname="127.0.0.1", config_file="/dev/null", kmip_version=version,
                               username="user", password="password")
    kmip._is_open = True
    kmip.proxy.protocol = Wire(version, server.KmipEngine(
        policies=policy.policies, database_path=os.path.join(FOLDER, "db-" + version.name)))
    two = version == enums.KMIPVersion.KMIP_2_0
    ask(kmip)
    made = lifecycle(kmip)
    use(kmip, *made)
    change(kmip, made[0], two)
