# The C types of what `converters` declares: attributes, arguments, results and local variables. The
# code is there alone, except for the functions at the end, which need C.

from cython cimport locals as c_locals
from cpython.dict cimport PyDict_Update
from cpython.object cimport PyObject, PyTypeObject
from cpython.unicode cimport PyUnicode_1BYTE_DATA, PyUnicode_GET_LENGTH, PyUnicode_KIND

cdef int MAX_DEPTH
cdef dict _integers
cdef dict _floats
cdef object _true
cdef object _false
cdef object _none
cdef object _is_date_time
cdef object encode_basestring
cdef dict _kinds
cdef object Decimal
cdef int TEXT, NUMBER, OBJECT, ARRAY, TRUE_OR_FALSE, NULL, UNKNOWN

cdef class Converter:
    cdef readonly bint takes_text
    cdef readonly object interpret
    cdef tuple checks
    cdef object take(self, object value, int depth)
    cdef int check(self, object value) except -1

cdef class Text(Converter):
    pass

cdef class String(Converter):
    cdef object make

cdef class DateTime(Converter):
    cdef object make

cdef class Choice(Converter):
    cdef dict members
    cdef bint is_open

cdef class Number(Converter):
    cdef object cls
    cdef object make
    cdef object of_int(self, object value)
    cdef object of_float(self, object value)
    cdef object of_decimal(self, object value)

cdef class Integer(Number):
    pass

cdef class Boolean(Converter):
    pass

cdef class Nullable(Converter):
    cdef Converter inner
    cdef object null

cdef class Reference(Converter):
    cdef object find
    cdef Converter target

cdef class Union(Converter):
    cdef dict by_class
    @c_locals(branch=Converter)
    cdef object take(self, object value, int depth)

cdef class Tagged(Converter):
    cdef str key
    cdef dict choices
    @c_locals(branch=Converter)
    cdef Converter branch_of(self, dict table)

@c_locals(parts=list, index=Py_ssize_t)
cdef tuple tuple_of(Converter item, object values, int depth)

cdef class Array(Converter):
    cdef Converter item
    cdef object make

cdef class Property:
    cdef Converter converter
    cdef int required

cdef class Object(Converter):
    cdef object cls
    cdef object make
    cdef bint fills
    cdef Property others
    cdef dict properties
    cdef int required
    @c_locals(
        table=dict, missing=int, properties=dict, others=Property, part=Property,
        converter=Converter
    )
    cdef object take(self, object value, int depth)

cdef class Free(Converter):
    cdef Number number
    cdef Object object

cdef int _kind_of(object cls) except -1
@c_locals(kind=int)
cdef int write(object value, list parts, int depth) except -1
@c_locals(table=dict, key=str)
cdef int write_object(object value, list parts, int depth) except -1
cdef int write_array(object items, list parts, int depth) except -1

# -- in place of the functions of these names -----------------------------------------------------

cdef inline dict new_table(Object owner, object value):
    if not owner.fills:
        return dict(value)
    # Calling the class would take three times as long; converting in a copy, a quarter more.
    cls = owner.cls
    instance = (<PyTypeObject *> cls).tp_new(cls, <PyObject *> (), NULL)
    PyDict_Update(instance, value)
    return <dict> instance

cdef inline object new_object(Object owner, dict table):
    return table if owner.fills else owner.make(table)

cdef inline int digits(const unsigned char *text) noexcept:
    """Return the number that two digits make; 100 where they are none."""
    if not (48 <= text[0] <= 57 and 48 <= text[1] <= 57):
        return 100
    return (text[0] - 48) * 10 + text[1] - 48

cdef inline bint is_common_date_time(str text) noexcept:
    # Checking each character takes a twentieth of the regular expression's time.
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text), place = 19
    if length < 20 or PyUnicode_KIND(text) != 1:
        return False
    cdef const unsigned char *t = <const unsigned char *> PyUnicode_1BYTE_DATA(text)
    cdef int month = digits(t + 5)
    if (
        t[4] != 45 or t[7] != 45 or t[10] != 84 or t[13] != 58 or t[16] != 58
        or t[length - 1] != 90 or digits(t) > 99 or digits(t + 2) > 99
        or digits(t + 11) > 23 or digits(t + 14) > 59 or digits(t + 17) > 59
        or not 1 <= month <= 12 or not 1 <= digits(t + 8) <= (28 if month == 2 else 30)
    ):
        return False
    if length == 20:
        return True
    if t[19] != 46 or length == 21:
        return False
    for place in range(20, length - 1):
        if not 48 <= t[place] <= 57:
            return False
    return True


cdef inline object base_of(object cls):
    return <object> (<PyTypeObject *> cls).tp_base


cdef inline int write_text(object text, list parts) except -1:
    cdef const unsigned char *t
    cdef Py_ssize_t place
    if PyUnicode_KIND(text) == 1:
        t = <const unsigned char *> PyUnicode_1BYTE_DATA(text)
        for place in range(PyUnicode_GET_LENGTH(text)):
            if t[place] < 32 or t[place] == 34 or t[place] == 92:
                break
        else:
            parts.append('"')
            parts.append(text)
            parts.append('"')
            return 0
    parts.append(encode_basestring(text))
    return 0
