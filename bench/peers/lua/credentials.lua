-- Verifies JWT access tokens with the OpenSSL that nginx itself runs on, and remembers those it verified.

local ffi = require "ffi"
local cjson = require "cjson.safe"

ffi.cdef [[
typedef struct bio_st BIO;
typedef struct evp_pkey_st EVP_PKEY;
typedef struct evp_md_ctx_st EVP_MD_CTX;
typedef struct evp_md_st EVP_MD;
BIO *BIO_new_mem_buf(const void *data, int length);
int BIO_free(BIO *bio);
EVP_PKEY *PEM_read_bio_PUBKEY(BIO *bio, EVP_PKEY **key, void *callback, void *argument);
EVP_MD_CTX *EVP_MD_CTX_new(void);
void EVP_MD_CTX_free(EVP_MD_CTX *context);
const EVP_MD *EVP_sha256(void);
int EVP_DigestVerifyInit(EVP_MD_CTX *context, void **pctx, const EVP_MD *type, void *engine, EVP_PKEY *key);
int EVP_DigestVerify(EVP_MD_CTX *context, const unsigned char *signature, size_t signature_length,
                     const unsigned char *data, size_t length);
void ERR_clear_error(void);
]]

local crypto = ffi.load "libcrypto.so.3"
local tokens = ngx.shared.tokens
local decode_base64url = require("ngx.base64").decode_base64url

local _M = {}
local settings

function _M.setup(given)
  settings = given
  local file = assert(io.open(given.key))
  local pem = file:read "*a"
  file:close()
  local bio = crypto.BIO_new_mem_buf(pem, #pem)
  settings.key = crypto.PEM_read_bio_PUBKEY(bio, nil, nil, nil)
  crypto.BIO_free(bio)
  assert(settings.key ~= nil, "the public key cannot be read")
end

-- An ECDSA signature as DER, from the two integers of RFC 7518.
local function der(raw)
  local function integer(bytes)
    bytes = bytes:gsub("^%z+", "")
    if bytes == "" or bytes:byte(1) >= 128 then
      bytes = "\0" .. bytes
    end
    return "\2" .. string.char(#bytes) .. bytes
  end
  local both = integer(raw:sub(1, 32)) .. integer(raw:sub(33, 64))
  return "\48" .. string.char(#both) .. both
end

local function is_signed(data, signature)
  if settings.algorithm == "ES256" then
    if #signature ~= 64 then
      return false
    end
    signature = der(signature)
  end
  local context = crypto.EVP_MD_CTX_new()
  local valid = crypto.EVP_DigestVerifyInit(context, nil, crypto.EVP_sha256(), nil, settings.key) == 1
    and crypto.EVP_DigestVerify(context, signature, #signature, data, #data) == 1
  crypto.EVP_MD_CTX_free(context)
  crypto.ERR_clear_error()
  return valid
end

local function verify(token)
  local head, payload, signature = token:match "^([%w_-]+)%.([%w_-]+)%.([%w_-]+)$"
  if not head then
    return nil
  end
  local header = cjson.decode(decode_base64url(head) or "")
  local claims = cjson.decode(decode_base64url(payload) or "")
  local bytes = decode_base64url(signature)
  if type(header) ~= "table" or type(claims) ~= "table" or not bytes or header.alg ~= settings.algorithm then
    return nil
  end
  if not is_signed(head .. "." .. payload, bytes) then
    return nil
  end
  if claims.iss ~= settings.issuer or claims.aud ~= settings.audience or type(claims.client_id) ~= "string" then
    return nil
  end
  local left = (tonumber(claims.exp) or 0) - ngx.time()
  if left <= 0 then
    return nil
  end
  tokens:set(token, claims.client_id, left)
  return claims.client_id
end

-- The channel of the request's token, or nothing.
function _M.channel()
  local field = ngx.var.http_authorization
  local token = field and field:match "^[Bb]earer (.+)$"
  return token and (tokens:get(token) or verify(token))
end

return _M
