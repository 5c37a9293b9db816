//! A zone of any bytes has an answer, within its bounds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_base::ObjectId;
use seawall_store::scan;

fuzz_target!(|data: &[u8]| {
    let found = scan(data);
    for object in &found.objects {
        let at = usize::try_from(object.offset).expect("within memory");
        let body = &data[at..][..object.len as usize];
        assert_eq!(ObjectId::of(body), object.id);
    }
});
