import { maxTokenBytes } from '../core/jwt.ts'
import { type Deny, deny } from '../core/reasons.ts'
import type { BasicValidator } from '../core/validator.ts'

// BOMs are kept: they are no part of a name that anybody types.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const maxUserBytes = 256
/** Of base64: a whole token, a user name and the colon between them. */
const maxLength = 4 * Math.ceil((maxTokenBytes + 1 + maxUserBytes) / 3)

// What no header can carry again, in ASCII and in the block behind it (RFC 7617, section 2).
const control = /[\u0000-\u001f\u007f-\u009f]/

/**
 * `Authorization: Basic` (RFC 7617) whose password is a credential for a validator above it. A user name that is the name
 * of one of these leaves the password to it alone; any other, also none, says nothing.
 */
export const basicCredentials = (validator: string): BasicValidator => ({
  name: validator,
  presents: 'basic',
  unwrap: ({ token }, validators) => {
    const read = readUserPass(token)
    if (!('password' in read)) return read
    const { user, password } = read
    return { token: password, only: validators.has(user) ? user : undefined }
  },
})

/**
 * Reads what follows `Basic `: padded base64 in its only spelling (RFC 4648, section 4), UTF-8 without control characters, the
 * first colon between the two, a password that is not empty.
 */
function readUserPass(token: string): { readonly user: string; readonly password: string } | Deny {
  if (token.length > maxLength) return malformed(`it is longer than ${maxLength} characters`)
  const bytes = Buffer.from(token, 'base64')
  if (token === '' || bytes.toString('base64') !== token) return malformed('what follows Basic is no padded base64')
  let text: string
  try {
    text = utf8.decode(bytes)
  } catch {
    return malformed('it is no UTF-8')
  }
  if (control.test(text)) return malformed('it holds control characters')
  const colon = text.indexOf(':')
  if (colon < 0) return malformed('there is no colon between user and password')
  return colon === text.length - 1 ? malformed('the password is empty') : { user: text.slice(0, colon), password: text.slice(colon + 1) }
}

const malformed = (why: string): Deny => deny('invalid_credential', `no credential of Basic (RFC 7617): ${why}`)
